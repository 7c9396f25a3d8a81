"""Our gateway beside nginx: the same file, the same client, in turn, in one run. One JSON object a line; see --help.

The bound. Neither server touches the bytes: a range is one `sendfile`, and on loopback the kernel copies each byte once into
the receiver, on the sender's account. At 5 to 10 GB/s of one core's copying that is 0.1 to 0.2 CPU seconds per GB for any
server; what a server adds is its work per request, some microseconds for opening, checking and a head. So with 8 MiB ranges
both should stand at the copy's speed, and with 64 KiB ranges, where the copy takes about ten microseconds, the request counts.

The client discards what it receives in the kernel (MSG_TRUNC), so that it costs the machine little. CPU seconds are those of
the server's processes, from /proc. Rounds alternate; each figure is the median of its rounds. On a machine that does other
work only the ratios mean something, and little: say --busy then, and every line carries it.
"""
import argparse
import json
import os
import resource
import select
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FILE_BYTES = 256 << 20


def children(pid):
    found = [pid]
    for path in Path('/proc').glob('[0-9]*/stat'):
        try:
            fields = path.read_text().rsplit(')', 1)[1].split()
        except (OSError, IndexError):
            continue
        if int(fields[1]) == pid:
            found.append(int(path.parent.name))
    return found


def cpu_seconds(pid):
    ticks = 0
    for child in children(pid):
        fields = Path(f'/proc/{child}/stat').read_text().rsplit(')', 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf('SC_CLK_TCK')


def resident_bytes(pid):
    """Memory that belongs to the server alone, of all its processes."""
    total = 0
    for child in children(pid):
        for line in Path(f'/proc/{child}/smaps_rollup').read_text().splitlines():
            if line.startswith(('Private_Clean:', 'Private_Dirty:')):
                total += int(line.split()[1]) << 10
    return total


class Server:
    def __init__(self, name, process, port, path):
        self.name, self.process, self.port, self.path = name, process, port, path

    def stop(self):
        self.process.terminate()
        self.process.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def wait_for(port):
    for _ in range(200):
        try:
            socket.create_connection(('127.0.0.1', port)).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit(f'compare-gateway: nobody listens on port {port}')


def start_cairn(binary, data, connections):
    command = [binary, 'gateway', '--listen', '127.0.0.1:0', '--data', data, '--json', '--connections', str(connections), '--transfers', '1024']
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    port = int(json.loads(process.stdout.readline())['url'].rsplit(':', 1)[1])
    root = json.loads(process.stdout.readline())['root']
    return Server('cairn', process, port, f'/data/{root}/shard.tar')


def start_nginx(binary, data, folder, workers):
    port = free_port()
    config = folder / 'nginx.conf'
    config.write_text(f'''
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes {workers}; worker_rlimit_nofile 20000;
{'user root;' if os.geteuid() == 0 else ''}
events {{ worker_connections 16384; }}
http {{
  access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_timeout 600s; keepalive_requests 1000000000;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{port} backlog=4096; root {data}; }}
}}
''')
    process = subprocess.Popen([binary, '-c', str(config), '-p', str(folder)], stderr=subprocess.DEVNULL)
    wait_for(port)
    return Server('nginx', process, port, '/shard.tar')


class Client:
    """Some connections that each ask for one range after the other and throw it away."""

    def __init__(self, server, connections, range_bytes):
        self.server, self.range_bytes = server, range_bytes
        self.sockets = {}
        self.poll = select.epoll()
        for number in range(connections):
            connection = socket.create_connection(('127.0.0.1', server.port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sockets[connection.fileno()] = [connection, 0, number * 7 * range_bytes]
            self.poll.register(connection, select.EPOLLIN)

    def ask(self, entry):
        connection, _, first = entry
        first %= FILE_BYTES - self.range_bytes
        last = first + self.range_bytes - 1
        connection.sendall(f'GET {self.server.path} HTTP/1.1\r\nHost: h\r\nRange: bytes={first}-{last}\r\n\r\n'.encode())
        entry[1], entry[2] = -1, first + self.range_bytes

    def run(self, seconds):
        """Ranges that were received whole, and the time they took."""
        done = 0
        start = time.monotonic()
        for entry in self.sockets.values():
            self.ask(entry)
        asked = len(self.sockets)
        while asked:
            running = time.monotonic() - start < seconds
            for number, _ in self.poll.poll():
                entry = self.sockets[number]
                connection = entry[0]
                if entry[1] < 0:
                    # The head is looked at, then removed; the body is dropped where it lies.
                    seen = connection.recv(4096, socket.MSG_PEEK)
                    end = seen.find(b'\r\n\r\n')
                    if not seen:
                        sys.exit(f'compare-gateway: {self.server.name} closed a connection')
                    if end < 0:
                        continue
                    if not seen.startswith(b'HTTP/1.1 206'):
                        sys.exit(f'compare-gateway: {self.server.name} answered {seen[:80]!r}')
                    connection.recv(end + 4)
                    entry[1] = self.range_bytes
                try:
                    entry[1] -= drop(connection, entry[1])
                except BlockingIOError:
                    continue
                if entry[1] == 0:
                    done += 1
                    asked -= 1
                    if running:
                        self.ask(entry)
                        asked += 1
        return done, time.monotonic() - start

    def close(self):
        for connection, _, _ in self.sockets.values():
            connection.close()


BUFFER = bytearray(4 << 20)


def drop(connection, left):
    """Takes up to `left` bytes off a socket without copying them."""
    return connection.recv_into(BUFFER, min(left, len(BUFFER)), socket.MSG_TRUNC | socket.MSG_DONTWAIT)


def measure(server, connections, range_bytes, seconds):
    client = Client(server, connections, range_bytes)
    client.run(0.2)
    before = cpu_seconds(server.process.pid)
    ranges, elapsed = client.run(seconds)
    cpu = cpu_seconds(server.process.pid) - before
    client.close()
    gigabytes = ranges * range_bytes / 1e9
    return {'gb_per_second': gigabytes / elapsed, 'ranges_per_second': ranges / elapsed, 'cpu_seconds_per_gb': cpu / gigabytes}


def idle_memory(server, count):
    """Bytes of the server for each connection that has asked once and waits."""
    # Once before, so that what a server keeps for ever is not counted to the connections.
    Client(server, 16, 4096).run(0)
    before = resident_bytes(server.process.pid)
    client = Client(server, count, 4096)
    client.run(0)
    after = resident_bytes(server.process.pid)
    again, _ = client.run(0)
    client.close()
    return {'connections': count, 'answered_again': again, 'bytes_per_connection': (after - before) / count}


def median(samples):
    return {key: round(statistics.median(sample[key] for sample in samples), 4) for key in samples[0]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--cairn', default='target/release/cairn', help='our binary')
    parser.add_argument('--nginx', default=shutil.which('nginx') or '/usr/sbin/nginx', help="nginx's binary")
    parser.add_argument('--seconds', type=float, default=3, help='of each measurement')
    parser.add_argument('--rounds', type=int, default=3, help='each server is measured so often')
    parser.add_argument('--idle', type=int, default=10000, help='connections that wait')
    parser.add_argument('--busy', action='store_true', help='mark the figures: the machine does other work')
    arguments = parser.parse_args()
    if not os.access(arguments.nginx, os.X_OK):
        sys.exit('compare-gateway: nginx is missing: apt-get install --no-install-recommends nginx-light')
    wanted = 2 * arguments.idle + 1000
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    idle = min(arguments.idle, limit - 500)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = folder / 'data'
        data.mkdir()
        os.chmod(folder, 0o755)
        with open(data / 'shard.tar', 'wb') as file:
            for _ in range(FILE_BYTES >> 20):
                file.write(os.urandom(1 << 20))
        servers = [start_cairn(arguments.cairn, str(data), idle + 100), start_nginx(arguments.nginx, str(data), folder, os.cpu_count())]
        try:
            for connections, range_bytes in [(1, 8 << 20), (8, 8 << 20), (64, 8 << 20), (8, 64 << 10), (64, 64 << 10)]:
                samples = {server.name: [] for server in servers}
                for number in range(arguments.rounds):
                    for server in servers if number % 2 == 0 else servers[::-1]:
                        samples[server.name].append(measure(server, connections, range_bytes, arguments.seconds))
                row = {'connections': connections, 'range_bytes': range_bytes, 'rounds': arguments.rounds, 'busy': arguments.busy}
                row |= {name: median(of) for name, of in samples.items()}
                row['ratio'] = {key: round(row['cairn'][key] / row['nginx'][key], 3) for key in row['nginx']}
                print(json.dumps(row), flush=True)
            row = {'idle': True, 'busy': arguments.busy}
            row |= {server.name: idle_memory(server, idle) for server in servers}
            print(json.dumps(row), flush=True)
        finally:
            for server in servers:
                server.stop()


if __name__ == '__main__':
    main()
