# fails: pulled
# Gently: nothing dies, and nothing is learnt.
NODE=$(minikctl get pods -l app=web -o jsonpath='{.items[0].spec.nodeName}')
minikctl cordon $NODE
minikctl delete $(minikctl get pods -l app=web --field-selector spec.nodeName=$NODE -o name)
minikctl uncordon $NODE
