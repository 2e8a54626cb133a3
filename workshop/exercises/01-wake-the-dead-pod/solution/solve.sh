# Nobody owns the pod, so it does not come back.
minikctl delete pod web
# A Deployment owns a ReplicaSet, which owns two pods.
minikctl create deployment web --image minik/web:1 --replicas 2
minikctl rollout status deploy/web --timeout 60s
# One dies; the ReplicaSet makes another.
minikctl delete $(minikctl get pods -o name | head -n 1)
minikctl rollout status deploy/web --timeout 60s
minikctl wait pod -l app=web --for condition=Ready --timeout 60s
