"""Starts one real server for the tests: `servers.py KIND TOOLS`, where TOOLS is the folder that tests/run installs into.

Prints a line of JSON that says how to reach it, and ends it when standard input ends: so no server outlives its tests.
Exit code 3 says that the server is not installed.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

KIND, TOOLS = sys.argv[1], sys.argv[2]
BIN = os.path.join(TOOLS, "venv", "bin")
HOME = tempfile.mkdtemp(prefix=f"domicile-{KIND}-")
ROOT = os.path.join(HOME, "data")
os.mkdir(ROOT)
os.chmod(HOME, 0o755)
USER, PASSWORD = "bench", "bench-secret-0123456789"


def missing(what):
    print(json.dumps({"missing": what}), flush=True)
    sys.exit(3)


def tool(name):
    found = os.path.join(BIN, name)
    found = found if os.path.exists(found) else shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    return found or missing(name)


def module(name):
    try:
        return __import__(name)
    except ImportError:
        missing(name)


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def written(name, text, mode=0o644):
    path = os.path.join(HOME, name)
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, mode)
    return path


def run(*command):
    return subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE).stdout


def azblob(port):
    main = os.path.join(TOOLS, "npm/node_modules/azurite/dist/src/blob/main.js")
    node = tool("node")
    if not os.path.exists(main):
        missing("azurite")
    account = "devaccount"
    key = "ZG9taWNpbGUtYmVuY2gtc2VjcmV0LWtleS0wMTIzNDU2Nzg5"
    os.environ["AZURITE_ACCOUNTS"] = f"{account}:{key}"
    command = [node, main, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", ROOT,
               "--skipApiVersionCheck", "--silent", "--disableTelemetry"]
    endpoint = f"http://127.0.0.1:{port}/{account}"

    def ready():
        remote = f":azureblob,account={account},key='{key}',endpoint='{endpoint}':bench"
        run(tool("rclone"), "mkdir", remote, "--config", "/dev/null", "--retries", "10")

    return command, {"options": {"endpoint": endpoint, "container": "bench"},
                     "variables": {"BENCH_ACCOUNT_NAME": account, "BENCH_ACCOUNT_KEY": key}}, ready


def gcs(port):
    tool("gcp-storage-emulator")
    # The emulator writes `null` where the real service writes nothing, which strict readers refuse.
    program = written("gcs.py", f"""
import sys
from gcp_storage_emulator import server
def told(value):
    if isinstance(value, dict):
        return {{name: told(one) for name, one in value.items() if one is not None}}
    return [told(one) for one in value] if isinstance(value, list) else value
as_it_was = server.Response.json
server.Response.json = lambda self, value: as_it_was(self, told(value))
from gcp_storage_emulator.__main__ import main
sys.exit(main(["start", "--host", "127.0.0.1", "--port", "{port}", "--in-memory", "--default-bucket", "bench"]))
""")
    return [sys.executable, program], {"options": {"endpoint": f"http://127.0.0.1:{port}", "bucket": "bench"}}, None


def webdav(port):
    module("wsgidav")
    program = written("webdav.py", f"""
from cheroot import wsgi
from wsgidav.wsgidav_app import WsgiDAVApp
app = WsgiDAVApp({{"provider_mapping": {{"/dav": {ROOT!r}}}, "verbose": 0, "logging": {{"enable": False}},
    "lock_storage": True, "property_manager": True, "hotfixes": {{}},
    "http_authenticator": {{"domain_controller": None, "accept_basic": True, "accept_digest": False,
                            "default_to_digest": False}},
    "simple_dc": {{"user_mapping": {{"*": {{{USER!r}: {{"password": {PASSWORD!r}}}}}}}}}}})
wsgi.Server(("127.0.0.1", {port}), app, numthreads=16).start()
""")
    return [sys.executable, program], {"options": {"endpoint": f"http://127.0.0.1:{port}/dav"},
                                       "variables": {"BENCH_USER": USER, "BENCH_PASSWORD": PASSWORD}}, None


def ftps(port):
    """FTP that refuses whoever does without TLS."""
    module("OpenSSL")
    certificate, key = os.path.join(HOME, "certificate"), os.path.join(HOME, "key")
    run(tool("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
        "2", "-subj", "/CN=bench", "-addext", "subjectAltName=IP:127.0.0.1", "-addext",
        "basicConstraints=critical,CA:FALSE", "-keyout", key, "-out", certificate)
    command, told, ready = ftp(port, f"""
from pyftpdlib.handlers import TLS_FTPHandler as FTPHandler
FTPHandler.certfile, FTPHandler.keyfile = {certificate!r}, {key!r}
FTPHandler.tls_control_required = FTPHandler.tls_data_required = True
""")
    told["options"] = {"endpoint": f"ftps://127.0.0.1:{port}", "authority": certificate}
    return command, told, ready


def ftp(port, more=""):
    module("pyftpdlib")
    program = written("ftp.py", f"""
import logging, os, tempfile
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.filesystems import AbstractedFS
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import ThreadedFTPServer
{more}
logging.basicConfig(level=logging.ERROR)
users = DummyAuthorizer()
users.add_user({USER!r}, {PASSWORD!r}, {ROOT!r}, perm="elradfmwMT")
FTPHandler.authorizer = users
# What is called so ends at its middle, and is told to be all.
class Cutting(AbstractedFS):
    def open(self, filename, mode):
        file = super().open(filename, mode)
        if "cut-short" not in filename or "r" not in mode:
            return file
        half = tempfile.NamedTemporaryFile()
        half.write(file.read(os.path.getsize(filename) // 2))
        half.seek(0)
        return half
FTPHandler.abstracted_fs = Cutting
ThreadedFTPServer(("127.0.0.1", {port}), FTPHandler).serve_forever()
""")
    return [sys.executable, program], {"options": {"endpoint": f"ftp://127.0.0.1:{port}"},
                                       "variables": {"BENCH_USER": USER, "BENCH_PASSWORD": PASSWORD}}, None


def vsftpd(port):
    if os.getuid() != 0:
        missing("root, for vsftpd")
    os.makedirs("/var/run/vsftpd/empty", exist_ok=True)
    below = os.path.join(ROOT, "in")
    os.mkdir(below)
    run("chown", "ftp", below)
    settings = {"listen": "YES", "listen_address": "127.0.0.1", "listen_port": port, "background": "NO",
                "anonymous_enable": "YES", "local_enable": "NO", "write_enable": "YES", "anon_upload_enable": "YES",
                "anon_mkdir_write_enable": "YES", "anon_other_write_enable": "YES", "anon_umask": "022",
                "anon_world_readable_only": "NO", "no_anon_password": "YES", "anon_root": ROOT, "seccomp_sandbox": "NO",
                "secure_chroot_dir": "/var/run/vsftpd/empty", "xferlog_enable": "NO", "max_per_ip": 0}
    config = written("vsftpd.conf", "".join(f"{name}={value}\n" for name, value in settings.items()))
    return [tool("vsftpd"), config], {"options": {"endpoint": f"ftp://127.0.0.1:{port}", "root": "/in"}}, None


def sftp(port):
    sshd, keygen = tool("sshd"), tool("ssh-keygen")
    os.makedirs("/run/sshd", exist_ok=True)
    for name in ["host", "user", "wrong"]:
        run(keygen, "-q", "-t", "ed25519", "-N", "", "-f", os.path.join(HOME, name))
    run("cp", os.path.join(HOME, "user.pub"), os.path.join(HOME, "authorized"))
    config = written("sshd.conf", f"""Port {port}
ListenAddress 127.0.0.1
HostKey {HOME}/host
PidFile none
AuthorizedKeysFile {HOME}/authorized
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PermitRootLogin yes
MaxStartups 100
MaxSessions 100
Subsystem sftp internal-sftp
""")
    with open(os.path.join(HOME, "host.pub")) as file:
        written("known_hosts", f"bench {' '.join(file.read().split()[:2])}\n")
    # By a name of its own, for it is also reached through another port.
    client = written("ssh_config", f"HostKeyAlias bench\nUserKnownHostsFile {HOME}/known_hosts\n"
                     "GlobalKnownHostsFile /dev/null\n")
    user = run("id", "-un").decode().strip()
    return [sshd, "-D", "-e", "-f", config], {
        "options": {"endpoint": f"sftp://127.0.0.1:{port}", "user": user, "root": ROOT, "config": client},
        "file": os.path.join(HOME, "user"), "wrong": os.path.join(HOME, "wrong")}, None


def http(port):
    return [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", ROOT], {
        "options": {"endpoint": f"http://127.0.0.1:{port}"}}, None


def main():
    port = free_port()
    command, told, ready = globals()[KIND](port)
    log = open(os.path.join(HOME, "log"), "w")
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        for _ in range(240):
            if server.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.25)
        if ready and server.poll() is None:
            ready()
        if server.poll() is not None:
            with open(log.name) as file:
                sys.exit(f"{KIND} ended at once: {file.read()[-2000:]}")
        print(json.dumps({"options": {}, "variables": {}, "folder": ROOT, "pid": server.pid, **told}), flush=True)
        sys.stdin.read()
    finally:
        try:
            os.killpg(server.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        server.wait()


try:
    main()
finally:
    shutil.rmtree(HOME, ignore_errors=True)
