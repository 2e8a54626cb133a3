"""minikctl: kubectl's everyday commands, and the commands that make and break a lab. Entry point: main.main().

    main.py        the table of commands, and the one place that turns errors into a line and an exit code
    command.py     what every command shares: --namespace, --context, --kubeconfig, kubectl's way of writing flags
    kubeconfig.py  transport.py  discovery.py  cluster.py     from a file to a conversation with an API server
    arguments.py   manifests.py  documents.py                 what the user named: `pods,svc`, `deploy/web`, files
    tables.py  printers.py  jsonpath.py  ages.py              what the user sees; pure
    get.py  apply.py  describe.py  rollout.py  ...            one file per command or family of commands

The CLI knows no kinds of its own: names, short names and paths come from the server's discovery, tables from the
server's Table answers. Objects are plain dicts, so kinds added to a server later work with an old minikctl.
A command must answer at once, so heavy modules (rich, yaml, bootstrap, lab) are imported where they are used.
"""
