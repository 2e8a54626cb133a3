"""minikctl: what a workshop types every minute, and the commands that make and break a lab. Entry point: main.main().

    main.py        the table of commands, and the one place that turns errors into a line and an exit code
    command.py     what commands share: --context and friends, which objects, --dry-run, kubectl's way of writing flags
    session.py     discovery.py               the conversation with an API server, and the kinds it has
    objects.py     manifests.py  documents.py what the user named: `pods,svc`, `deploy/web`, -l, files
    output.py      tables.py  paths.py  ages.py  layout.py    what the user sees; pure
    get.py  apply.py  describe.py  rollout.py  ...            one file per command or family of commands

The CLI knows no kinds of its own: names, short names and paths come from the server's discovery, tables from the
server's Table answers, merges are the server's. Objects are plain dicts, so kinds added to a server later work with an
old minikctl. What kubectl has beyond this is kubectl's to do (kubectl.py).
A command must answer at once, so heavy modules (rich, yaml, bootstrap, lab) are imported where they are used.
"""
