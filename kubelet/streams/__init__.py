"""What goes both ways between a client and a pod: channels.py is the wire (pure), remote_command.py exec and attach,
port_forward.py and spdy_forward.py connections to its ports. kubelet/server.py leads to them."""
