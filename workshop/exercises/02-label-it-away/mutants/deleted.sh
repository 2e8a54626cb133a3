# fails: apart
# Out of service, but it can tell nobody anything any more.
minikctl delete $(minikctl get pods -o name | head -n 1)
minikctl rollout status deploy/web --timeout 60s
