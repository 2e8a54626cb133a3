# A thousand cpus were a tenth of one, mistyped.
minikctl set resources deploy/big --requests cpu=100m
# The node with the fast disk says so from now on.
minikctl label node node-1 disktype=ssd --overwrite
# A Service does not need ports of the nodes.
minikctl patch deploy/twins --type json -p '[{"op": "remove", "path": "/spec/template/spec/containers/0/ports"}]'
for each in big picky twins; do minikctl rollout status deploy/$each --timeout 60s; done
