# fails: owned
# Starts it by hand again, as somebody did before.
minikctl delete pod web
minikctl apply -f setup/web.yaml
minikctl wait pod/web --for condition=Ready --timeout 60s
