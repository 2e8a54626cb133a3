# fails: replaced
# Has a Deployment and never sees it act.
minikctl delete pod web
minikctl create deployment web --image minik/web:1 --replicas 2
minikctl rollout status deploy/web --timeout 60s
