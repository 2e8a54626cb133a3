# fails: twins
# Nothing is Pending when nothing more is wanted.
minikctl scale deploy/twins --replicas 3
minikctl wait deploy/twins --for jsonpath='{.status.replicas}'=3 --timeout 60s
