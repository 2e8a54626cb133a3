"""What client-go is to Kubernetes: the machinery every component is built from, on top of lightkube.

    config.py      a kubeconfig becomes a connected client
    blocking.py    kubeconfig.py    the same without an event loop and its imports, for minikctl
    rest.py        the calls lightkube lacks: deletes with preconditions, watches with bookmarks
    discovery.py   which kinds the server has right now
    informer.py    list + watch kept as a local cache with handlers and indexes
    workqueue.py   keys to work on: deduplicated, delayed, rate limited
    backoff.py     how long to wait before the next try: one rule for the whole project
    controller.py  the loop: take a key, reconcile, retry with backoff
    leader.py      one active replica through a Lease
    events.py      what happened to an object, as people read it in `describe`

A controller is: informers whose changes enqueue keys, and a `reconcile(key)` that reads the caches and acts.
"""
