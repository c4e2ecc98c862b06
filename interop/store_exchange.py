def run(options, directory, make_server):
    raise SystemExit("later")
