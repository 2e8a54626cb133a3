# fails: runs
# Turns it off and on again.
minikctl rollout restart deploy/greeter
minikctl wait deploy/greeter --for jsonpath='{.status.updatedReplicas}'=1 --timeout 60s
