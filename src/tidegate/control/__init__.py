"""What lives as long as the process and serves operators: supervisor, workers' bodies, link, reload, admin."""
