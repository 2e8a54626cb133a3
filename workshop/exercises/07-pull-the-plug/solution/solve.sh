NODE=$(minikctl get pods -l app=web -o jsonpath='{.items[0].spec.nodeName}')
minikctl node stop $NODE
BEGIN=$(date +%s.%N)
minikctl wait node/$NODE --for condition=Ready=Unknown --timeout 60s
minikctl create configmap answers --from-literal seconds=$(awk "BEGIN { print $(date +%s.%N) - $BEGIN }")
# The pod is given up, and another becomes Ready elsewhere.
until minikctl get pods | grep Terminating > /dev/null; do sleep 0.2; done
minikctl wait deploy/web --for jsonpath='{.status.readyReplicas}'=3 --timeout 60s
minikctl node start $NODE
