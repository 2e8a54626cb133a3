"""Field numbers of Kubernetes' protobuf encoding, for every type a client can send us. Pure data.

One entry per message: `number:name:type`. A name left empty marks an embedded message whose fields stand, in JSON,
directly in the outer object. Types are `str`, `int`, `bool`, `double`, `bytes` (base64 in JSON), `time`, `quantity`,
`intstr`, `json`, `strings`, or the name of a message; `[]` repeats, `map<...>` is a map with string keys. Messages of
one name in two API versions say theirs: `HorizontalPodAutoscaler@autoscaling/v1`.

The numbers are those of Kubernetes 1.32 (the `generated.proto` of k8s.io/api and k8s.io/apimachinery). Numbers are
never reused there, so older and newer clients fit; a field not listed is skipped.
"""

MESSAGES = """
AWSElasticBlockStoreVolumeSource 1:volumeID:str 2:fsType:str 3:partition:int 4:readOnly:bool
Affinity 1:nodeAffinity:NodeAffinity 2:podAffinity:PodAffinity 3:podAntiAffinity:PodAntiAffinity
AggregationRule 1:clusterRoleSelectors:LabelSelector[]
AppArmorProfile 1:type:str 2:localhostProfile:str
AttachedVolume 1:name:str 2:devicePath:str
AzureDiskVolumeSource 1:diskName:str 2:diskURI:str 3:cachingMode:str 4:fsType:str 5:readOnly:bool 6:kind:str
AzureFileVolumeSource 1:secretName:str 2:shareName:str 3:readOnly:bool
Binding 1:metadata:ObjectMeta 2:target:ObjectReference
BoundObjectReference 1:kind:str 2:apiVersion:str 3:name:str 4:uid:str
CSIVolumeSource 1:driver:str 2:readOnly:bool 3:fsType:str 4:volumeAttributes:map<str>
  5:nodePublishSecretRef:LocalObjectReference
Capabilities 1:add:str[] 2:drop:str[]
CephFSVolumeSource 1:monitors:str[] 2:path:str 3:user:str 4:secretFile:str 5:secretRef:LocalObjectReference
  6:readOnly:bool
CertificateSigningRequest 1:metadata:ObjectMeta 2:spec:CertificateSigningRequestSpec
  3:status:CertificateSigningRequestStatus
CertificateSigningRequestCondition 1:type:str 6:status:str 2:reason:str 3:message:str 4:lastUpdateTime:time
  5:lastTransitionTime:time
CertificateSigningRequestSpec 1:request:bytes 7:signerName:str 8:expirationSeconds:int 5:usages:str[] 2:username:str
  3:uid:str 4:groups:str[] 6:extra:map<strings>
CertificateSigningRequestStatus 1:conditions:CertificateSigningRequestCondition[] 2:certificate:bytes
CinderVolumeSource 1:volumeID:str 2:fsType:str 3:readOnly:bool 4:secretRef:LocalObjectReference
ClientIPConfig 1:timeoutSeconds:int
ClusterRole 1:metadata:ObjectMeta 2:rules:PolicyRule[] 3:aggregationRule:AggregationRule
ClusterRoleBinding 1:metadata:ObjectMeta 2:subjects:Subject[] 3:roleRef:RoleRef
ClusterTrustBundleProjection 1:name:str 2:signerName:str 3:labelSelector:LabelSelector 5:optional:bool 4:path:str
Condition 1:type:str 2:status:str 3:observedGeneration:int 4:lastTransitionTime:time 5:reason:str 6:message:str
ConfigMap 1:metadata:ObjectMeta 4:immutable:bool 2:data:map<str> 3:binaryData:map<bytes>
ConfigMapEnvSource 1::LocalObjectReference 2:optional:bool
ConfigMapKeySelector 1::LocalObjectReference 2:key:str 3:optional:bool
ConfigMapNodeConfigSource 1:namespace:str 2:name:str 3:uid:str 4:resourceVersion:str 5:kubeletConfigKey:str
ConfigMapProjection 1::LocalObjectReference 2:items:KeyToPath[] 4:optional:bool
ConfigMapVolumeSource 1::LocalObjectReference 2:items:KeyToPath[] 3:defaultMode:int 4:optional:bool
Container 1:name:str 2:image:str 3:command:str[] 4:args:str[] 5:workingDir:str 6:ports:ContainerPort[]
  19:envFrom:EnvFromSource[] 7:env:EnvVar[] 8:resources:ResourceRequirements 23:resizePolicy:ContainerResizePolicy[]
  24:restartPolicy:str 9:volumeMounts:VolumeMount[] 21:volumeDevices:VolumeDevice[] 10:livenessProbe:Probe
  11:readinessProbe:Probe 22:startupProbe:Probe 12:lifecycle:Lifecycle 13:terminationMessagePath:str
  20:terminationMessagePolicy:str 14:imagePullPolicy:str 15:securityContext:SecurityContext 16:stdin:bool
  17:stdinOnce:bool 18:tty:bool
ContainerImage 1:names:str[] 2:sizeBytes:int
ContainerPort 1:name:str 2:hostPort:int 3:containerPort:int 4:protocol:str 5:hostIP:str
ContainerResizePolicy 1:resourceName:str 2:restartPolicy:str
ContainerResourceMetricSource 1:name:str 2:target:MetricTarget 3:container:str
ContainerResourceMetricStatus 1:name:str 2:current:MetricValueStatus 3:container:str
ContainerState 1:waiting:ContainerStateWaiting 2:running:ContainerStateRunning 3:terminated:ContainerStateTerminated
ContainerStateRunning 1:startedAt:time
ContainerStateTerminated 1:exitCode:int 2:signal:int 3:reason:str 4:message:str 5:startedAt:time 6:finishedAt:time
  7:containerID:str
ContainerStateWaiting 1:reason:str 2:message:str
ContainerStatus 1:name:str 2:state:ContainerState 3:lastState:ContainerState 4:ready:bool 5:restartCount:int
  6:image:str 7:imageID:str 8:containerID:str 9:started:bool 10:allocatedResources:map<quantity>
  11:resources:ResourceRequirements 12:volumeMounts:VolumeMountStatus[] 13:user:ContainerUser
  14:allocatedResourcesStatus:ResourceStatus[]
ContainerUser 1:linux:LinuxContainerUser
ControllerRevision 1:metadata:ObjectMeta 2:data:json 3:revision:int
CronJob 1:metadata:ObjectMeta 2:spec:CronJobSpec 3:status:CronJobStatus
CronJobSpec 1:schedule:str 2:startingDeadlineSeconds:int 3:concurrencyPolicy:str 4:suspend:bool
  5:jobTemplate:JobTemplateSpec 6:successfulJobsHistoryLimit:int 7:failedJobsHistoryLimit:int 8:timeZone:str
CronJobStatus 1:active:ObjectReference[] 4:lastScheduleTime:time 5:lastSuccessfulTime:time
CrossVersionObjectReference 1:kind:str 2:name:str 3:apiVersion:str
DaemonEndpoint 1:Port:int
DaemonSet 1:metadata:ObjectMeta 2:spec:DaemonSetSpec 3:status:DaemonSetStatus
DaemonSetCondition 1:type:str 2:status:str 3:lastTransitionTime:time 4:reason:str 5:message:str
DaemonSetSpec 1:selector:LabelSelector 2:template:PodTemplateSpec 3:updateStrategy:DaemonSetUpdateStrategy
  4:minReadySeconds:int 6:revisionHistoryLimit:int
DaemonSetStatus 1:currentNumberScheduled:int 2:numberMisscheduled:int 3:desiredNumberScheduled:int 4:numberReady:int
  5:observedGeneration:int 6:updatedNumberScheduled:int 7:numberAvailable:int 8:numberUnavailable:int
  9:collisionCount:int 10:conditions:DaemonSetCondition[]
DaemonSetUpdateStrategy 1:type:str 2:rollingUpdate:RollingUpdateDaemonSet
DeleteOptions 1:gracePeriodSeconds:int 2:preconditions:Preconditions 3:orphanDependents:bool 4:propagationPolicy:str
  5:dryRun:str[] 6:ignoreStoreReadErrorWithClusterBreakingPotential:bool
Deployment 1:metadata:ObjectMeta 2:spec:DeploymentSpec 3:status:DeploymentStatus
DeploymentCondition 1:type:str 2:status:str 6:lastUpdateTime:time 7:lastTransitionTime:time 4:reason:str
  5:message:str
DeploymentSpec 1:replicas:int 2:selector:LabelSelector 3:template:PodTemplateSpec 4:strategy:DeploymentStrategy
  5:minReadySeconds:int 6:revisionHistoryLimit:int 7:paused:bool 9:progressDeadlineSeconds:int
DeploymentStatus 1:observedGeneration:int 2:replicas:int 3:updatedReplicas:int 7:readyReplicas:int
  4:availableReplicas:int 5:unavailableReplicas:int 6:conditions:DeploymentCondition[] 8:collisionCount:int
DeploymentStrategy 1:type:str 2:rollingUpdate:RollingUpdateDeployment
DownwardAPIProjection 1:items:DownwardAPIVolumeFile[]
DownwardAPIVolumeFile 1:path:str 2:fieldRef:ObjectFieldSelector 3:resourceFieldRef:ResourceFieldSelector 4:mode:int
DownwardAPIVolumeSource 1:items:DownwardAPIVolumeFile[] 2:defaultMode:int
EmptyDirVolumeSource 1:medium:str 2:sizeLimit:quantity
Endpoint 1:addresses:str[] 2:conditions:EndpointConditions 3:hostname:str 4:targetRef:ObjectReference
  5:deprecatedTopology:map<str> 6:nodeName:str 7:zone:str 8:hints:EndpointHints
EndpointAddress 1:ip:str 2:targetRef:ObjectReference 3:hostname:str 4:nodeName:str
EndpointConditions 1:ready:bool 2:serving:bool 3:terminating:bool
EndpointHints 1:forZones:ForZone[]
EndpointPort 1:name:str 2:protocol:str 3:port:int 4:appProtocol:str
EndpointPort@v1 1:name:str 2:port:int 3:protocol:str 4:appProtocol:str
EndpointSlice 1:metadata:ObjectMeta 4:addressType:str 2:endpoints:Endpoint[] 3:ports:EndpointPort[]
EndpointSubset 1:addresses:EndpointAddress[] 2:notReadyAddresses:EndpointAddress[] 3:ports:EndpointPort@v1[]
Endpoints 1:metadata:ObjectMeta 2:subsets:EndpointSubset[]
EnvFromSource 1:prefix:str 2:configMapRef:ConfigMapEnvSource 3:secretRef:SecretEnvSource
EnvVar 1:name:str 2:value:str 3:valueFrom:EnvVarSource
EnvVarSource 1:fieldRef:ObjectFieldSelector 2:resourceFieldRef:ResourceFieldSelector
  3:configMapKeyRef:ConfigMapKeySelector 4:secretKeyRef:SecretKeySelector
EphemeralContainer 1::EphemeralContainerCommon 2:targetContainerName:str
EphemeralContainerCommon 1:name:str 2:image:str 3:command:str[] 4:args:str[] 5:workingDir:str
  6:ports:ContainerPort[] 19:envFrom:EnvFromSource[] 7:env:EnvVar[] 8:resources:ResourceRequirements
  23:resizePolicy:ContainerResizePolicy[] 24:restartPolicy:str 9:volumeMounts:VolumeMount[]
  21:volumeDevices:VolumeDevice[] 10:livenessProbe:Probe 11:readinessProbe:Probe 22:startupProbe:Probe
  12:lifecycle:Lifecycle 13:terminationMessagePath:str 20:terminationMessagePolicy:str 14:imagePullPolicy:str
  15:securityContext:SecurityContext 16:stdin:bool 17:stdinOnce:bool 18:tty:bool
EphemeralVolumeSource 1:volumeClaimTemplate:PersistentVolumeClaimTemplate
Event 1:metadata:ObjectMeta 2:involvedObject:ObjectReference 3:reason:str 4:message:str 5:source:EventSource
  6:firstTimestamp:time 7:lastTimestamp:time 8:count:int 9:type:str 10:eventTime:time 11:series:EventSeries
  12:action:str 13:related:ObjectReference 14:reportingComponent:str 15:reportingInstance:str
EventSeries 1:count:int 2:lastObservedTime:time
EventSource 1:component:str 2:host:str
Eviction 1:metadata:ObjectMeta 2:deleteOptions:DeleteOptions
ExecAction 1:command:str[]
ExternalMetricSource 1:metric:MetricIdentifier 2:target:MetricTarget
FCVolumeSource 1:targetWWNs:str[] 2:lun:int 3:fsType:str 4:readOnly:bool 5:wwids:str[]
FieldSelectorAttributes 1:rawSelector:str 2:requirements:FieldSelectorRequirement[]
FieldSelectorRequirement 1:key:str 2:operator:str 3:values:str[]
FlexVolumeSource 1:driver:str 2:fsType:str 3:secretRef:LocalObjectReference 4:readOnly:bool 5:options:map<str>
FlockerVolumeSource 1:datasetName:str 2:datasetUUID:str
ForZone 1:name:str
GCEPersistentDiskVolumeSource 1:pdName:str 2:fsType:str 3:partition:int 4:readOnly:bool
GRPCAction 1:port:int 2:service:str
GitRepoVolumeSource 1:repository:str 2:revision:str 3:directory:str
GlusterfsVolumeSource 1:endpoints:str 2:path:str 3:readOnly:bool
HPAScalingPolicy 1:type:str 2:value:int 3:periodSeconds:int
HPAScalingRules 1:selectPolicy:str 2:policies:HPAScalingPolicy[] 3:stabilizationWindowSeconds:int
  4:tolerance:quantity
HTTPGetAction 1:path:str 2:port:intstr 3:host:str 4:scheme:str 5:httpHeaders:HTTPHeader[]
HTTPHeader 1:name:str 2:value:str
HorizontalPodAutoscaler@autoscaling/v1 1:metadata:ObjectMeta 2:spec:HorizontalPodAutoscalerSpec@autoscaling/v1
  3:status:HorizontalPodAutoscalerStatus@autoscaling/v1
HorizontalPodAutoscaler@autoscaling/v2 1:metadata:ObjectMeta 2:spec:HorizontalPodAutoscalerSpec@autoscaling/v2
  3:status:HorizontalPodAutoscalerStatus@autoscaling/v2
HorizontalPodAutoscalerBehavior 1:scaleUp:HPAScalingRules 2:scaleDown:HPAScalingRules
HorizontalPodAutoscalerCondition 1:type:str 2:status:str 3:lastTransitionTime:time 4:reason:str 5:message:str
HorizontalPodAutoscalerSpec@autoscaling/v1 1:scaleTargetRef:CrossVersionObjectReference 2:minReplicas:int
  3:maxReplicas:int 4:targetCPUUtilizationPercentage:int
HorizontalPodAutoscalerSpec@autoscaling/v2 1:scaleTargetRef:CrossVersionObjectReference 2:minReplicas:int
  3:maxReplicas:int 4:metrics:MetricSpec[] 5:behavior:HorizontalPodAutoscalerBehavior
HorizontalPodAutoscalerStatus@autoscaling/v1 1:observedGeneration:int 2:lastScaleTime:time 3:currentReplicas:int
  4:desiredReplicas:int 5:currentCPUUtilizationPercentage:int
HorizontalPodAutoscalerStatus@autoscaling/v2 1:observedGeneration:int 2:lastScaleTime:time 3:currentReplicas:int
  4:desiredReplicas:int 5:currentMetrics:MetricStatus[] 6:conditions:HorizontalPodAutoscalerCondition[]
HostAlias 1:ip:str 2:hostnames:str[]
HostIP 1:ip:str
HostPathVolumeSource 1:path:str 2:type:str
IPBlock 1:cidr:str 2:except:str[]
ISCSIVolumeSource 1:targetPortal:str 2:iqn:str 3:lun:int 4:iscsiInterface:str 5:fsType:str 6:readOnly:bool
  7:portals:str[] 8:chapAuthDiscovery:bool 11:chapAuthSession:bool 10:secretRef:LocalObjectReference
  12:initiatorName:str
ImageVolumeSource 1:reference:str 2:pullPolicy:str
Job 1:metadata:ObjectMeta 2:spec:JobSpec 3:status:JobStatus
JobCondition 1:type:str 2:status:str 3:lastProbeTime:time 4:lastTransitionTime:time 5:reason:str 6:message:str
JobSpec 1:parallelism:int 2:completions:int 3:activeDeadlineSeconds:int 4:selector:LabelSelector
  5:manualSelector:bool 6:template:PodTemplateSpec 7:backoffLimit:int 8:ttlSecondsAfterFinished:int
  9:completionMode:str 10:suspend:bool 11:podFailurePolicy:PodFailurePolicy 12:backoffLimitPerIndex:int
  13:maxFailedIndexes:int 14:podReplacementPolicy:str 15:managedBy:str 16:successPolicy:SuccessPolicy
JobStatus 1:conditions:JobCondition[] 2:startTime:time 3:completionTime:time 4:active:int 5:succeeded:int
  6:failed:int 7:completedIndexes:str 8:uncountedTerminatedPods:UncountedTerminatedPods 9:ready:int
  10:failedIndexes:str 11:terminating:int
JobTemplateSpec 1:metadata:ObjectMeta 2:spec:JobSpec
KeyToPath 1:key:str 2:path:str 3:mode:int
LabelSelector 1:matchLabels:map<str> 2:matchExpressions:LabelSelectorRequirement[]
LabelSelectorRequirement 1:key:str 2:operator:str 3:values:str[]
Lease 1:metadata:ObjectMeta 2:spec:LeaseSpec
LeaseSpec 1:holderIdentity:str 2:leaseDurationSeconds:int 3:acquireTime:time 4:renewTime:time 5:leaseTransitions:int
  6:strategy:str 7:preferredHolder:str
Lifecycle 1:postStart:LifecycleHandler 2:preStop:LifecycleHandler
LifecycleHandler 1:exec:ExecAction 2:httpGet:HTTPGetAction 3:tcpSocket:TCPSocketAction 4:sleep:SleepAction
LinuxContainerUser 1:uid:int 2:gid:int 3:supplementalGroups:int[]
LoadBalancerIngress 1:ip:str 2:hostname:str 3:ipMode:str 4:ports:PortStatus[]
LoadBalancerStatus 1:ingress:LoadBalancerIngress[]
LocalObjectReference 1:name:str
LocalSubjectAccessReview 1:metadata:ObjectMeta 2:spec:SubjectAccessReviewSpec
ManagedFieldsEntry 1:manager:str 2:operation:str 3:apiVersion:str 4:time:time 6:fieldsType:str 7:fieldsV1:json
  8:subresource:str
MetricIdentifier 1:name:str 2:selector:LabelSelector
MetricSpec 1:type:str 2:object:ObjectMetricSource 3:pods:PodsMetricSource 4:resource:ResourceMetricSource
  5:external:ExternalMetricSource 7:containerResource:ContainerResourceMetricSource
MetricStatus 1:type:str 4:resource:ResourceMetricStatus 7:containerResource:ContainerResourceMetricStatus
MetricTarget 1:type:str 2:value:quantity 3:averageValue:quantity 4:averageUtilization:int
MetricValueStatus 1:value:quantity 2:averageValue:quantity 3:averageUtilization:int
NFSVolumeSource 1:server:str 2:path:str 3:readOnly:bool
Namespace 1:metadata:ObjectMeta 2:spec:NamespaceSpec 3:status:NamespaceStatus
NamespaceCondition 1:type:str 2:status:str 4:lastTransitionTime:time 5:reason:str 6:message:str
NamespaceSpec 1:finalizers:str[]
NamespaceStatus 1:phase:str 2:conditions:NamespaceCondition[]
NetworkPolicy 1:metadata:ObjectMeta 2:spec:NetworkPolicySpec
NetworkPolicyEgressRule 1:ports:NetworkPolicyPort[] 2:to:NetworkPolicyPeer[]
NetworkPolicyIngressRule 1:ports:NetworkPolicyPort[] 2:from:NetworkPolicyPeer[]
NetworkPolicyPeer 1:podSelector:LabelSelector 2:namespaceSelector:LabelSelector 3:ipBlock:IPBlock
NetworkPolicyPort 1:protocol:str 2:port:intstr 3:endPort:int
NetworkPolicySpec 1:podSelector:LabelSelector 2:ingress:NetworkPolicyIngressRule[]
  3:egress:NetworkPolicyEgressRule[] 4:policyTypes:str[]
Node 1:metadata:ObjectMeta 2:spec:NodeSpec 3:status:NodeStatus
NodeAddress 1:type:str 2:address:str
NodeAffinity 1:requiredDuringSchedulingIgnoredDuringExecution:NodeSelector
  2:preferredDuringSchedulingIgnoredDuringExecution:PreferredSchedulingTerm[]
NodeCondition 1:type:str 2:status:str 3:lastHeartbeatTime:time 4:lastTransitionTime:time 5:reason:str 6:message:str
NodeConfigSource 2:configMap:ConfigMapNodeConfigSource
NodeConfigStatus 1:assigned:NodeConfigSource 2:active:NodeConfigSource 3:lastKnownGood:NodeConfigSource 4:error:str
NodeDaemonEndpoints 1:kubeletEndpoint:DaemonEndpoint
NodeFeatures 1:supplementalGroupsPolicy:bool
NodeRuntimeHandler 1:name:str 2:features:NodeRuntimeHandlerFeatures
NodeRuntimeHandlerFeatures 1:recursiveReadOnlyMounts:bool 2:userNamespaces:bool
NodeSelector 1:nodeSelectorTerms:NodeSelectorTerm[]
NodeSelectorRequirement 1:key:str 2:operator:str 3:values:str[]
NodeSelectorTerm 1:matchExpressions:NodeSelectorRequirement[] 2:matchFields:NodeSelectorRequirement[]
NodeSpec 1:podCIDR:str 7:podCIDRs:str[] 3:providerID:str 4:unschedulable:bool 5:taints:Taint[]
  6:configSource:NodeConfigSource 2:externalID:str
NodeStatus 1:capacity:map<quantity> 2:allocatable:map<quantity> 3:phase:str 4:conditions:NodeCondition[]
  5:addresses:NodeAddress[] 6:daemonEndpoints:NodeDaemonEndpoints 7:nodeInfo:NodeSystemInfo
  8:images:ContainerImage[] 9:volumesInUse:str[] 10:volumesAttached:AttachedVolume[] 11:config:NodeConfigStatus
  12:runtimeHandlers:NodeRuntimeHandler[] 13:features:NodeFeatures
NodeSystemInfo 1:machineID:str 2:systemUUID:str 3:bootID:str 4:kernelVersion:str 5:osImage:str
  6:containerRuntimeVersion:str 7:kubeletVersion:str 8:kubeProxyVersion:str 9:operatingSystem:str
  10:architecture:str
NonResourceAttributes 1:path:str 2:verb:str
ObjectFieldSelector 1:apiVersion:str 2:fieldPath:str
ObjectMeta 1:name:str 2:generateName:str 3:namespace:str 4:selfLink:str 5:uid:str 6:resourceVersion:str
  7:generation:int 8:creationTimestamp:time 9:deletionTimestamp:time 10:deletionGracePeriodSeconds:int
  11:labels:map<str> 12:annotations:map<str> 13:ownerReferences:OwnerReference[] 14:finalizers:str[]
  17:managedFields:ManagedFieldsEntry[]
ObjectMetricSource 1:describedObject:CrossVersionObjectReference 2:target:MetricTarget 3:metric:MetricIdentifier
ObjectReference 1:kind:str 2:namespace:str 3:name:str 4:uid:str 5:apiVersion:str 6:resourceVersion:str
  7:fieldPath:str
OwnerReference 5:apiVersion:str 1:kind:str 3:name:str 4:uid:str 6:controller:bool 7:blockOwnerDeletion:bool
PersistentVolumeClaim 1:metadata:ObjectMeta 2:spec:PersistentVolumeClaimSpec 3:status:PersistentVolumeClaimStatus
PersistentVolumeClaimSpec 1:accessModes:str[] 4:selector:LabelSelector 2:resources:VolumeResourceRequirements
  3:volumeName:str 5:storageClassName:str 6:volumeMode:str 7:dataSource:TypedLocalObjectReference
  8:dataSourceRef:TypedObjectReference 9:volumeAttributesClassName:str
PersistentVolumeClaimStatus 1:phase:str 2:accessModes:str[] 3:capacity:map<quantity>
PersistentVolumeClaimTemplate 1:metadata:ObjectMeta 2:spec:PersistentVolumeClaimSpec
PersistentVolumeClaimVolumeSource 1:claimName:str 2:readOnly:bool
PhotonPersistentDiskVolumeSource 1:pdID:str 2:fsType:str
Pod 1:metadata:ObjectMeta 2:spec:PodSpec 3:status:PodStatus
PodAffinity 1:requiredDuringSchedulingIgnoredDuringExecution:PodAffinityTerm[]
  2:preferredDuringSchedulingIgnoredDuringExecution:WeightedPodAffinityTerm[]
PodAffinityTerm 1:labelSelector:LabelSelector 2:namespaces:str[] 3:topologyKey:str 4:namespaceSelector:LabelSelector
  5:matchLabelKeys:str[] 6:mismatchLabelKeys:str[]
PodAntiAffinity 1:requiredDuringSchedulingIgnoredDuringExecution:PodAffinityTerm[]
  2:preferredDuringSchedulingIgnoredDuringExecution:WeightedPodAffinityTerm[]
PodCondition 1:type:str 2:status:str 3:lastProbeTime:time 4:lastTransitionTime:time 5:reason:str 6:message:str
PodDNSConfig 1:nameservers:str[] 2:searches:str[] 3:options:PodDNSConfigOption[]
PodDNSConfigOption 1:name:str 2:value:str
PodFailurePolicy 1:rules:PodFailurePolicyRule[]
PodFailurePolicyOnExitCodesRequirement 1:containerName:str 2:operator:str 3:values:int[]
PodFailurePolicyOnPodConditionsPattern 1:type:str 2:status:str
PodFailurePolicyRule 1:action:str 2:onExitCodes:PodFailurePolicyOnExitCodesRequirement
  3:onPodConditions:PodFailurePolicyOnPodConditionsPattern[]
PodIP 1:ip:str
PodOS 1:name:str
PodReadinessGate 1:conditionType:str
PodResourceClaim 1:name:str 3:resourceClaimName:str 4:resourceClaimTemplateName:str
PodResourceClaimStatus 1:name:str 2:resourceClaimName:str
PodSchedulingGate 1:name:str
PodSecurityContext 1:seLinuxOptions:SELinuxOptions 8:windowsOptions:WindowsSecurityContextOptions 2:runAsUser:int
  6:runAsGroup:int 3:runAsNonRoot:bool 4:supplementalGroups:int[] 12:supplementalGroupsPolicy:str 5:fsGroup:int
  7:sysctls:Sysctl[] 9:fsGroupChangePolicy:str 10:seccompProfile:SeccompProfile 11:appArmorProfile:AppArmorProfile
  13:seLinuxChangePolicy:str
PodSpec 1:volumes:Volume[] 20:initContainers:Container[] 2:containers:Container[]
  34:ephemeralContainers:EphemeralContainer[] 3:restartPolicy:str 4:terminationGracePeriodSeconds:int
  5:activeDeadlineSeconds:int 6:dnsPolicy:str 7:nodeSelector:map<str> 8:serviceAccountName:str 9:serviceAccount:str
  21:automountServiceAccountToken:bool 10:nodeName:str 11:hostNetwork:bool 12:hostPID:bool 13:hostIPC:bool
  27:shareProcessNamespace:bool 14:securityContext:PodSecurityContext 15:imagePullSecrets:LocalObjectReference[]
  16:hostname:str 17:subdomain:str 18:affinity:Affinity 19:schedulerName:str 22:tolerations:Toleration[]
  23:hostAliases:HostAlias[] 24:priorityClassName:str 25:priority:int 26:dnsConfig:PodDNSConfig
  28:readinessGates:PodReadinessGate[] 29:runtimeClassName:str 30:enableServiceLinks:bool 31:preemptionPolicy:str
  32:overhead:map<quantity> 33:topologySpreadConstraints:TopologySpreadConstraint[] 35:setHostnameAsFQDN:bool
  36:os:PodOS 37:hostUsers:bool 38:schedulingGates:PodSchedulingGate[] 39:resourceClaims:PodResourceClaim[]
  40:resources:ResourceRequirements
PodStatus 1:phase:str 2:conditions:PodCondition[] 3:message:str 4:reason:str 11:nominatedNodeName:str 5:hostIP:str
  16:hostIPs:HostIP[] 6:podIP:str 12:podIPs:PodIP[] 7:startTime:time 10:initContainerStatuses:ContainerStatus[]
  8:containerStatuses:ContainerStatus[] 9:qosClass:str 13:ephemeralContainerStatuses:ContainerStatus[] 14:resize:str
  15:resourceClaimStatuses:PodResourceClaimStatus[]
PodTemplate 1:metadata:ObjectMeta 2:template:PodTemplateSpec
PodTemplateSpec 1:metadata:ObjectMeta 2:spec:PodSpec
PodsMetricSource 1:metric:MetricIdentifier 2:target:MetricTarget
PolicyRule 1:verbs:str[] 2:apiGroups:str[] 3:resources:str[] 4:resourceNames:str[] 5:nonResourceURLs:str[]
PortStatus 1:port:int 2:protocol:str 3:error:str
PortworxVolumeSource 1:volumeID:str 2:fsType:str 3:readOnly:bool
Preconditions 1:uid:str 2:resourceVersion:str
PreferredSchedulingTerm 1:weight:int 2:preference:NodeSelectorTerm
Probe 1::ProbeHandler 2:initialDelaySeconds:int 3:timeoutSeconds:int 4:periodSeconds:int 5:successThreshold:int
  6:failureThreshold:int 7:terminationGracePeriodSeconds:int
ProbeHandler 1:exec:ExecAction 2:httpGet:HTTPGetAction 3:tcpSocket:TCPSocketAction 4:grpc:GRPCAction
ProjectedVolumeSource 1:sources:VolumeProjection[] 2:defaultMode:int
QuobyteVolumeSource 1:registry:str 2:volume:str 3:readOnly:bool 4:user:str 5:group:str 6:tenant:str
RBDVolumeSource 1:monitors:str[] 2:image:str 3:fsType:str 4:pool:str 5:user:str 6:keyring:str
  7:secretRef:LocalObjectReference 8:readOnly:bool
ReplicaSet 1:metadata:ObjectMeta 2:spec:ReplicaSetSpec 3:status:ReplicaSetStatus
ReplicaSetCondition 1:type:str 2:status:str 3:lastTransitionTime:time 4:reason:str 5:message:str
ReplicaSetSpec 1:replicas:int 4:minReadySeconds:int 2:selector:LabelSelector 3:template:PodTemplateSpec
ReplicaSetStatus 1:replicas:int 2:fullyLabeledReplicas:int 4:readyReplicas:int 5:availableReplicas:int
  3:observedGeneration:int 6:conditions:ReplicaSetCondition[]
ReplicationController 1:metadata:ObjectMeta 2:spec:ReplicationControllerSpec 3:status:ReplicationControllerStatus
ReplicationControllerSpec 1:replicas:int 2:selector:map<str> 3:template:PodTemplateSpec 4:minReadySeconds:int
ReplicationControllerStatus 1:replicas:int 2:fullyLabeledReplicas:int 3:observedGeneration:int 4:readyReplicas:int
  5:availableReplicas:int
ResourceAttributes 1:namespace:str 2:verb:str 3:group:str 4:version:str 5:resource:str 6:subresource:str 7:name:str
  8:fieldSelector:FieldSelectorAttributes
ResourceClaim 1:name:str 2:request:str
ResourceFieldSelector 1:containerName:str 2:resource:str 3:divisor:quantity
ResourceHealth 1:resourceID:str 2:health:str
ResourceMetricSource 1:name:str 2:target:MetricTarget
ResourceMetricStatus 1:name:str 2:current:MetricValueStatus
ResourceRequirements 1:limits:map<quantity> 2:requests:map<quantity> 3:claims:ResourceClaim[]
ResourceStatus 1:name:str 2:resources:ResourceHealth[]
Role 1:metadata:ObjectMeta 2:rules:PolicyRule[]
RoleBinding 1:metadata:ObjectMeta 2:subjects:Subject[] 3:roleRef:RoleRef
RoleRef 1:apiGroup:str 2:kind:str 3:name:str
RollingUpdateDaemonSet 1:maxUnavailable:intstr 2:maxSurge:intstr
RollingUpdateDeployment 1:maxUnavailable:intstr 2:maxSurge:intstr
RollingUpdateStatefulSetStrategy 1:partition:int 2:maxUnavailable:intstr
SELinuxOptions 1:user:str 2:role:str 3:type:str 4:level:str
Scale 1:metadata:ObjectMeta 2:spec:ScaleSpec 3:status:ScaleStatus
ScaleIOVolumeSource 1:gateway:str 2:system:str 3:secretRef:LocalObjectReference 4:sslEnabled:bool
  5:protectionDomain:str 6:storagePool:str 7:storageMode:str 8:volumeName:str 9:fsType:str 10:readOnly:bool
ScaleSpec 1:replicas:int
ScaleStatus 1:replicas:int 2:selector:str
SeccompProfile 1:type:str 2:localhostProfile:str
Secret 1:metadata:ObjectMeta 5:immutable:bool 2:data:map<bytes> 4:stringData:map<str> 3:type:str
SecretEnvSource 1::LocalObjectReference 2:optional:bool
SecretKeySelector 1::LocalObjectReference 2:key:str 3:optional:bool
SecretProjection 1::LocalObjectReference 2:items:KeyToPath[] 4:optional:bool
SecretVolumeSource 1:secretName:str 2:items:KeyToPath[] 3:defaultMode:int 4:optional:bool
SecurityContext 1:capabilities:Capabilities 2:privileged:bool 3:seLinuxOptions:SELinuxOptions
  10:windowsOptions:WindowsSecurityContextOptions 4:runAsUser:int 8:runAsGroup:int 5:runAsNonRoot:bool
  6:readOnlyRootFilesystem:bool 7:allowPrivilegeEscalation:bool 9:procMount:str 11:seccompProfile:SeccompProfile
  12:appArmorProfile:AppArmorProfile
SelfSubjectAccessReview 1:metadata:ObjectMeta 2:spec:SelfSubjectAccessReviewSpec
SelfSubjectAccessReviewSpec 1:resourceAttributes:ResourceAttributes 2:nonResourceAttributes:NonResourceAttributes
SelfSubjectReview 1:metadata:ObjectMeta
SelfSubjectRulesReview 1:metadata:ObjectMeta 2:spec:SelfSubjectRulesReviewSpec
SelfSubjectRulesReviewSpec 1:namespace:str
Service 1:metadata:ObjectMeta 2:spec:ServiceSpec 3:status:ServiceStatus
ServiceAccount 1:metadata:ObjectMeta 2:secrets:ObjectReference[] 3:imagePullSecrets:LocalObjectReference[]
  4:automountServiceAccountToken:bool
ServiceAccountTokenProjection 1:audience:str 2:expirationSeconds:int 3:path:str
ServicePort 1:name:str 2:protocol:str 6:appProtocol:str 3:port:int 4:targetPort:intstr 5:nodePort:int
ServiceSpec 1:ports:ServicePort[] 2:selector:map<str> 3:clusterIP:str 18:clusterIPs:str[] 4:type:str
  5:externalIPs:str[] 7:sessionAffinity:str 8:loadBalancerIP:str 9:loadBalancerSourceRanges:str[]
  10:externalName:str 11:externalTrafficPolicy:str 12:healthCheckNodePort:int 13:publishNotReadyAddresses:bool
  14:sessionAffinityConfig:SessionAffinityConfig 19:ipFamilies:str[] 17:ipFamilyPolicy:str
  20:allocateLoadBalancerNodePorts:bool 21:loadBalancerClass:str 22:internalTrafficPolicy:str
  23:trafficDistribution:str
ServiceStatus 1:loadBalancer:LoadBalancerStatus 2:conditions:Condition[]
SessionAffinityConfig 1:clientIP:ClientIPConfig
SleepAction 1:seconds:int
StatefulSet 1:metadata:ObjectMeta 2:spec:StatefulSetSpec 3:status:StatefulSetStatus
StatefulSetOrdinals 1:start:int
StatefulSetPersistentVolumeClaimRetentionPolicy 1:whenDeleted:str 2:whenScaled:str
StatefulSetSpec 1:replicas:int 2:selector:LabelSelector 3:template:PodTemplateSpec
  4:volumeClaimTemplates:PersistentVolumeClaim[] 5:serviceName:str 6:podManagementPolicy:str
  7:updateStrategy:StatefulSetUpdateStrategy 8:revisionHistoryLimit:int 9:minReadySeconds:int
  10:persistentVolumeClaimRetentionPolicy:StatefulSetPersistentVolumeClaimRetentionPolicy
  11:ordinals:StatefulSetOrdinals
StatefulSetStatus 1:observedGeneration:int 2:replicas:int 3:readyReplicas:int 4:currentReplicas:int
  5:updatedReplicas:int 6:currentRevision:str 7:updateRevision:str 9:collisionCount:int 11:availableReplicas:int
StatefulSetUpdateStrategy 1:type:str 2:rollingUpdate:RollingUpdateStatefulSetStrategy
StorageOSVolumeSource 1:volumeName:str 2:volumeNamespace:str 3:fsType:str 4:readOnly:bool
  5:secretRef:LocalObjectReference
Subject 1:kind:str 2:apiGroup:str 3:name:str 4:namespace:str
SubjectAccessReview 1:metadata:ObjectMeta 2:spec:SubjectAccessReviewSpec
SubjectAccessReviewSpec 1:resourceAttributes:ResourceAttributes 2:nonResourceAttributes:NonResourceAttributes
  3:user:str 4:groups:str[] 5:extra:map<strings> 6:uid:str
SuccessPolicy 1:rules:SuccessPolicyRule[]
SuccessPolicyRule 1:succeededIndexes:str 2:succeededCount:int
Sysctl 1:name:str 2:value:str
TCPSocketAction 1:port:intstr 2:host:str
Taint 1:key:str 2:value:str 3:effect:str 4:timeAdded:time
TokenRequest 1:metadata:ObjectMeta 2:spec:TokenRequestSpec 3:status:TokenRequestStatus
TokenRequestSpec 1:audiences:str[] 4:expirationSeconds:int 3:boundObjectRef:BoundObjectReference
TokenRequestStatus 1:token:str 2:expirationTimestamp:time
TokenReview 1:metadata:ObjectMeta 2:spec:TokenReviewSpec
TokenReviewSpec 1:token:str 2:audiences:str[]
Toleration 1:key:str 2:operator:str 3:value:str 4:effect:str 5:tolerationSeconds:int
TopologySpreadConstraint 1:maxSkew:int 2:topologyKey:str 3:whenUnsatisfiable:str 4:labelSelector:LabelSelector
  5:minDomains:int 6:nodeAffinityPolicy:str 7:nodeTaintsPolicy:str 8:matchLabelKeys:str[]
TypedLocalObjectReference 1:apiGroup:str 2:kind:str 3:name:str
TypedObjectReference 1:apiGroup:str 2:kind:str 3:name:str 4:namespace:str
UncountedTerminatedPods 1:succeeded:str[] 2:failed:str[]
Volume 1:name:str 2::VolumeSource
VolumeDevice 1:name:str 2:devicePath:str
VolumeMount 1:name:str 2:readOnly:bool 7:recursiveReadOnly:str 3:mountPath:str 4:subPath:str 5:mountPropagation:str
  6:subPathExpr:str
VolumeMountStatus 1:name:str 2:mountPath:str 3:readOnly:bool 4:recursiveReadOnly:str
VolumeProjection 1:secret:SecretProjection 2:downwardAPI:DownwardAPIProjection 3:configMap:ConfigMapProjection
  4:serviceAccountToken:ServiceAccountTokenProjection 5:clusterTrustBundle:ClusterTrustBundleProjection
VolumeResourceRequirements 1:limits:map<quantity> 2:requests:map<quantity>
VolumeSource 1:hostPath:HostPathVolumeSource 2:emptyDir:EmptyDirVolumeSource
  3:gcePersistentDisk:GCEPersistentDiskVolumeSource 4:awsElasticBlockStore:AWSElasticBlockStoreVolumeSource
  5:gitRepo:GitRepoVolumeSource 6:secret:SecretVolumeSource 7:nfs:NFSVolumeSource 8:iscsi:ISCSIVolumeSource
  9:glusterfs:GlusterfsVolumeSource 10:persistentVolumeClaim:PersistentVolumeClaimVolumeSource
  11:rbd:RBDVolumeSource 12:flexVolume:FlexVolumeSource 13:cinder:CinderVolumeSource 14:cephfs:CephFSVolumeSource
  15:flocker:FlockerVolumeSource 16:downwardAPI:DownwardAPIVolumeSource 17:fc:FCVolumeSource
  18:azureFile:AzureFileVolumeSource 19:configMap:ConfigMapVolumeSource
  20:vsphereVolume:VsphereVirtualDiskVolumeSource 21:quobyte:QuobyteVolumeSource 22:azureDisk:AzureDiskVolumeSource
  23:photonPersistentDisk:PhotonPersistentDiskVolumeSource 26:projected:ProjectedVolumeSource
  24:portworxVolume:PortworxVolumeSource 25:scaleIO:ScaleIOVolumeSource 27:storageos:StorageOSVolumeSource
  28:csi:CSIVolumeSource 29:ephemeral:EphemeralVolumeSource 30:image:ImageVolumeSource
VsphereVirtualDiskVolumeSource 1:volumePath:str 2:fsType:str 3:storagePolicyName:str 4:storagePolicyID:str
WeightedPodAffinityTerm 1:weight:int 2:podAffinityTerm:PodAffinityTerm
WindowsSecurityContextOptions 1:gmsaCredentialSpecName:str 2:gmsaCredentialSpec:str 3:runAsUserName:str
  4:hostProcess:bool
"""
