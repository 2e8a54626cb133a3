# Missed by the Service and by the ReplicaSet, which makes another.
minikctl label $(minikctl get pods -o name | head -n 1) app=suspect --overwrite
minikctl wait pod --all --for condition=Ready --timeout 60s
minikctl wait deploy/web --for jsonpath='{.status.readyReplicas}'=3 --timeout 60s
