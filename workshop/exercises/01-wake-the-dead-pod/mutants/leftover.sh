# fails: orphans
# Leaves the pod that nobody owns beside those of the Deployment.
minikctl create deployment web --image minik/web:1 --replicas 2
minikctl rollout status deploy/web --timeout 60s
minikctl delete $(minikctl get pods -o name | grep web- | head -n 1)
minikctl rollout status deploy/web --timeout 60s
