# fails: cut
# The cable is back before anybody noticed.
NODE=$(minikctl get pods -l app=web -o jsonpath='{.items[0].spec.nodeName}')
minikctl create configmap answers --from-literal containers=run --from-literal shown=Terminating \
  --from-literal in-all=4 --from-literal after=gone
minikctl node cut $NODE
minikctl node heal $NODE
