# fails: quiet
# Changes the label the ReplicaSet looks at, and not the Service's.
minikctl label $(minikctl get pods -o name | head -n 1) track=suspect --overwrite
minikctl wait deploy/web --for jsonpath='{.status.readyReplicas}'=3 --timeout 60s
