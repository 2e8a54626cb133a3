# fails: whole
# Takes care of the suspect, and makes the others do its work.
minikctl label $(minikctl get pods -o name | head -n 1) app=suspect --overwrite
minikctl scale deploy/web --replicas 2
minikctl wait deploy/web --for jsonpath='{.status.replicas}'=2 --timeout 60s
