# fails: picky
# It runs, on whatever disk.
minikctl patch deploy/picky --type json -p '[{"op": "remove", "path": "/spec/template/spec/nodeSelector"}]'
minikctl rollout status deploy/picky --timeout 60s
