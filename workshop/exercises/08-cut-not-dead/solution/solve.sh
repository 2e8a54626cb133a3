NODE=$(minikctl get pods -l app=web -o jsonpath='{.items[0].spec.nodeName}')
minikctl create configmap answers --from-literal containers=run --from-literal shown=Terminating \
  --from-literal in-all=4 --from-literal after=gone
minikctl node cut $NODE
until minikctl get pods | grep Terminating > /dev/null; do sleep 0.2; done
minikctl wait deploy/web --for jsonpath='{.status.readyReplicas}'=3 --timeout 60s
minikctl node heal $NODE
minikctl wait node/$NODE --for condition=Ready --timeout 60s
