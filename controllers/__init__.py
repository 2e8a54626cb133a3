"""The controller manager: one file, one loop, one idea.

main.py               the boot story: options, leadership, all the loops below
manager.py            what the loops share: client, caches, events; and how they are run

deployment.py         Deployment -> ReplicaSets          rollout.py, deployment_status.py, templates.py (pure)
replicaset.py         ReplicaSet, ReplicationController -> Pods        ranking.py (pure)
endpointslice.py      Service + Pods -> EndpointSlices   endpoints.py, slicing.py (pure)
endpoint.py           Service + Pods -> Endpoints
endpointslicemirroring.py   Endpoints made by hand -> EndpointSlices
node_lifecycle.py     a silent node -> Unknown, tainted  node_health.py, zones.py (pure)
taint_eviction.py     NoExecute taint -> pods evicted
disruption.py         PodDisruptionBudget -> how many pods may be evicted now
pod_gc.py             pods that nobody will ever finish -> deleted
node_ipam.py          Node -> podCIDR
garbage_collector.py  owner gone -> dependents gone
namespace.py          namespace deleted -> everything in it deleted
csr.py                a joining node's CSR -> approved and signed      signing.py (pure)
clusterrole_aggregation.py   ClusterRole with an aggregationRule -> its rules
serviceaccount.py     Namespace -> ServiceAccount default, ConfigMap kube-root-ca.crt
token_cleaner.py      expired bootstrap token -> deleted

pod_control.py        the pods of an owner: claimed, created, deleted
expectations.py       what was written but is not in the cache yet
adoption.py           which objects belong to a controller, and claiming them
writes.py             status updates and the like
"""
