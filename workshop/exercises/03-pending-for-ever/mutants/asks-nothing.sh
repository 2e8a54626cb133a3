# fails: big
# It fits anywhere once it asks for nothing.
minikctl patch deploy/big --type json -p '[{"op": "remove", "path": "/spec/template/spec/containers/0/resources"}]'
minikctl rollout status deploy/big --timeout 60s
