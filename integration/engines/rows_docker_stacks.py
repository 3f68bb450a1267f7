"""Docker: several containers that serve together, and data that stay. W21, W22."""

import collections
import time

from harness import check, equal, eventually, row, run, write
from rows_docker_namespaces import fetch, reachable

STACK = """version: "2.4"
services:
  redis:
    image: debian
    command: redis-server --bind 0.0.0.0 --protected-mode no --save ""
  web:
    image: debian
    scale: 4
    depends_on: [redis]
    environment: {STACK: "%s"}
    command: busybox httpd -f -p 80 -h /www
    volumes: ["./www:/www:ro"]
  balancer:
    image: debian
    depends_on: [web]
    command: nginx -g "daemon off;"
    ports: ["127.0.0.1::80"]
    volumes: ["./nginx.conf:/etc/nginx/nginx.conf:ro"]
"""
BALANCER = """events {}
http { access_log off; error_log stderr;
  upstream back { server web:80; }
  server { listen 80; location / { proxy_pass http://back/cgi-bin/visit; } } }
"""
VISIT = """#!/bin/sh
echo "Content-Type: text/plain"; echo
echo "$STACK $(hostname) $(redis-cli -h redis incr visits)"
"""


class Stack:
    def __init__(self, docker, name):
        self.docker, self.name, self.top = docker, name, docker.workspace.new("stack")
        write(f"{self.top}/docker-compose.yml", STACK % name)
        write(f"{self.top}/nginx.conf", BALANCER)
        run("mkdir", "-p", f"{self.top}/www/cgi-bin")
        write(f"{self.top}/www/cgi-bin/visit", VISIT, 0o755)

    def compose(self, *args, **options):
        words = ["docker-compose", "--project-name", self.name, "--ansi", "never", *args]
        return run(*words, env=self.docker.env, cwd=self.top, timeout=100, **options)

    def visit(self, count):
        """How often each back end has answered, and the counter of redis after it."""
        port = self.compose("port", "balancer", "80").text.rpartition(":")[2]
        url = f"http://127.0.0.1:{port}/"
        last = int(reachable(url).split()[2])
        seen = collections.Counter()
        for _ in range(count):
            stack, host, number = fetch(url).split()
            equal((stack, int(number)), (self.name, last + 1), "stack and counter")
            last += 1
            seen[host] += 1
        return seen


@row("W21", "docker", "compose: balancer, four back ends, redis; twice; down")
def compose(docker):
    first, second = Stack(docker, "first"), Stack(docker, "second")
    stacks = [first, second]
    for stack in stacks:
        stack.compose("up", "-d")
    for stack in stacks:
        seen = stack.visit(20)
        equal(len(seen), 4, f"back ends that answered: {seen}")
    names = [words.split("_")[0] for words in docker("ps", "--format", "{{.Names}}").text.split()]
    equal(collections.Counter(names), {"first": 6, "second": 6}, "containers")
    first.compose("down", "-t", "1")
    equal(len(second.visit(8)), 4, "the second stack after the end of the first")
    second.compose("down", "-t", "1")
    equal(docker("ps", "-aq").text, "", "containers after down")
    networks = docker("network", "ls", "--format", "{{.Name}}").text.split()
    equal(sorted(networks), ["bridge", "host", "none"], "networks after down")


POSTGRES = """set -e
export PATH=/usr/lib/postgresql/15/bin:$PATH PGDATA=/var/lib/postgresql/kept
[ -d $PGDATA ] || initdb --no-sync --auth=trust >/dev/null
exec postgres -D $PGDATA -k /tmp
"""


@row("W22", "docker", "PostgreSQL: data survive kill -9 and re-creation")
def postgres(docker):
    start = ["-v", "pgdata:/var/lib/postgresql", "-u", "postgres", "debian", "sh", "-c", POSTGRES]

    def sql(name, text):
        def ask():
            done = docker("exec", name, "psql", "-h", "/tmp", "-tAc", text, status=None)
            return done if done.status == 0 else None

        return eventually(ask, text, 40).text

    try:
        with docker.container(*start) as name:
            sql(name, "create table kept as select generate_series(1, 1000) as n")
            sql(name, "checkpoint")
            sql(name, "insert into kept values (4321)")
            docker("kill", "-s", "KILL", name)
            equal(docker.inspect(name, "{{.State.ExitCode}}"), "137", "kill -9")
            docker("start", name)
            equal(sql(name, "select sum(n) from kept"), "504821", "after kill -9")
            docker("stop", name)
        with docker.container(*start) as name:
            equal(sql(name, "select sum(n) from kept"), "504821", "in a new container")
    finally:
        docker("volume", "rm", "-f", "pgdata")


@row("W22", "docker", "redis: data survive kill -9 and re-creation")
def redis(docker):
    start = ["-v", "redisdata:/data", "-w", "/data", "debian", "redis-server"]
    start += ["--appendonly", "yes", "--appendfsync", "always"]

    def ask(name, *words):
        def attempt():
            done = docker("exec", name, "redis-cli", *words, status=None)
            return done.status == 0 and "onnection refused" not in done.both and done.text

        return eventually(attempt, " ".join(words))

    try:
        with docker.container(*start) as name:
            equal(ask(name, "set", "town", "Ghent"), "OK", "set")
            docker("kill", "-s", "KILL", name)
            docker("start", name)
            equal(ask(name, "get", "town"), "Ghent", "after kill -9")
        with docker.container(*start) as name:
            equal(ask(name, "get", "town"), "Ghent", "in a new container")
            started = time.monotonic()
            docker("stop", "-t", "40", name)
            check(time.monotonic() - started < 30, "redis did not end at TERM")
    finally:
        docker("volume", "rm", "-f", "redisdata")
