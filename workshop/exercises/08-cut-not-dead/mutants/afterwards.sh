# fails: predicted, right, whole
# Predicts when it has happened, wrongly, and leaves the cable out.
NODE=$(minikctl get pods -l app=web -o jsonpath='{.items[0].spec.nodeName}')
minikctl node cut $NODE
until minikctl get pods | grep Terminating > /dev/null; do sleep 0.2; done
minikctl create configmap answers --from-literal containers=end --from-literal shown=gone \
  --from-literal in-all=3 --from-literal after=stay
