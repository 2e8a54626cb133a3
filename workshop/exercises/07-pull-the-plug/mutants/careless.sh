# fails: replaced, measured, back
# Guesses, makes do with fewer pods, and leaves the machine off.
NODE=$(minikctl get pods -l app=web -o jsonpath='{.items[0].spec.nodeName}')
minikctl node stop $NODE
minikctl create configmap answers --from-literal seconds=40
until minikctl get pods | grep Terminating > /dev/null; do sleep 0.2; done
minikctl scale deploy/web --replicas 2
minikctl wait deploy/web --for jsonpath='{.status.replicas}'=2 --timeout 60s
