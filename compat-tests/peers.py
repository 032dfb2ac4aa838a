"""The servers anybucket is compared with, on the same disk: nginx (static files, WebDAV PUT), `rclone serve s3`, versitygw."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from process import Process, accepts, free_port
from server import KEYS, ROOT

NGINX_CONFIG = """
daemon off;
{user}
worker_processes auto;
pid {root}/nginx.pid;
error_log {root}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    client_max_body_size 0;
    client_body_temp_path {root}/body;
    proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/fastcgi; uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{ root {root}/objects; dav_methods PUT DELETE; create_full_put_path on; }}
    }}
}}
"""


class Nginx(Process):
    """Knows no buckets and no signatures: it ignores the query of a presigned URL, and that is its advantage."""

    def __init__(self, directory: Path) -> None:
        self.host, self.port, self.credentials = "127.0.0.1", free_port(), KEYS
        self.objects = directory / "objects"
        self.objects.mkdir(parents=True)
        # Workers drop root's rights otherwise and may not read a private temporary directory.
        user = "user root;" if os.geteuid() == 0 else ""
        config = directory / "nginx.conf"
        config.write_text(NGINX_CONFIG.format(user=user, root=directory, port=self.port))
        super().__init__("nginx", [find_tool("nginx"), "-c", str(config), "-e", f"{directory}/error.log"], directory)

    def up(self, patience_s: float = 30) -> float:
        return self.start(lambda: accepts(self.port), patience_s)


class Rclone(Process):
    """`rclone serve s3` on a directory, without fsync, or on what `remote` names."""

    def __init__(self, directory: Path, remote: str = "", env: dict[str, str] | None = None) -> None:
        self.host, self.port, self.credentials = "127.0.0.1", free_port(), KEYS
        self.objects = directory / "objects"
        self.objects.mkdir(parents=True)
        argv = [
            find_tool("rclone"), "serve", "s3", "--config", "/dev/null", "--addr", f"127.0.0.1:{self.port}",
            "--auth-key", f"{KEYS.access_key},{KEYS.secret_key}", "--vfs-cache-mode", "off", remote or str(self.objects),
        ]
        super().__init__("rclone", argv, directory, env)

    def up(self, patience_s: float = 30) -> float:
        return self.start(lambda: accepts(self.port), patience_s)


class Versitygw(Process):
    """The S3 gateway versitygw on a directory, whose metadata is in extended attributes; it does not fsync."""

    def __init__(self, directory: Path) -> None:
        self.host, self.port, self.credentials = "127.0.0.1", free_port(), KEYS
        self.objects = directory / "objects"
        self.objects.mkdir(parents=True)
        argv = [
            find_tool("versitygw"), "--port", f"127.0.0.1:{self.port}", "--access", KEYS.access_key, "--secret", KEYS.secret_key,
            "--quiet", "--keep-alive", "posix", str(self.objects),
        ]
        super().__init__("versitygw", argv, directory)

    def up(self, patience_s: float = 30) -> float:
        return self.start(lambda: accepts(self.port), patience_s)


def find_tool(name: str) -> str:
    """The path of a program: ours in .tools first, then the machine's (nginx hides in /usr/sbin)."""
    places = os.pathsep.join([str(ROOT / ".tools/py/bin"), str(ROOT / ".tools/bin"), os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    found = shutil.which(name, path=places)
    if found is None:
        ours = {"rclone": "compat-tests/setup.sh", "versitygw": "compat-tests/setup.sh"}
        raise FileNotFoundError(f"{name} is missing: {ours.get(name, f'on Debian `apt install {name}`')}")
    return found
