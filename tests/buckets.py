"""A server of buckets for tests: what gcsfs, google-cloud-storage, TensorStore and ArrayRecord ask.

It implements the part of Google's JSON API that they use, in memory, on a port of this machine.
"""

import base64
import hashlib
import http.server
import itertools
import json
import re
import threading
import urllib.parse

# Where each client finds the server; with these none asks Google for credentials.
VARIABLES = ('STORAGE_EMULATOR_HOST', 'TENSORSTORE_GCS_HTTP_URL', 'CLOUD_STORAGE_EMULATOR_ENDPOINT')


class Buckets(http.server.ThreadingHTTPServer):
    """Objects by name, `bucket/path`, of any bucket that a client asks for."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self):
        super().__init__(('127.0.0.1', 0), _Handler)
        self.objects = {}
        self.generations = itertools.count(1)
        self.uploads = {}
        self.lock = threading.Lock()
        self.url = f'http://127.0.0.1:{self.server_port}'

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    def put(self, bucket, name, data):
        with self.lock:
            generation = next(self.generations)
            self.objects[f'{bucket}/{name}'] = (data, generation)
        return self.about(bucket, name)

    def about(self, bucket, name):
        """An object's metadata."""
        data, generation = self.objects[f'{bucket}/{name}']
        link = f'{self.url}/download/storage/v1/b/{bucket}/o/{urllib.parse.quote(name, safe="")}'
        return {
            'kind': 'storage#object',
            'id': f'{bucket}/{name}/{generation}',
            'name': name,
            'bucket': bucket,
            'size': str(len(data)),
            'generation': str(generation),
            'metageneration': '1',
            'storageClass': 'STANDARD',
            'mediaLink': f'{link}?alt=media',
            'md5Hash': base64.b64encode(hashlib.md5(data).digest()).decode(),
            'crc32c': _crc32c(data),
            'timeCreated': '2026-01-01T00:00:00.000Z',
            'updated': '2026-01-01T00:00:00.000Z',
        }


def _crc32c(data):
    import google_crc32c

    return base64.b64encode(google_crc32c.Checksum(data).digest()).decode()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except ConnectionError:  # a client that was closed
            self.close_connection = True

    def do_GET(self):
        self._act('GET')

    def do_POST(self):
        self._act('POST')

    def do_PUT(self):
        self._act('PUT')

    def do_DELETE(self):
        self._act('DELETE')

    def _act(self, method):
        split = urllib.parse.urlsplit(self.path)
        self.query = dict(urllib.parse.parse_qsl(split.query))
        body = self._body()
        status, answer, headers = self._answer(method, split.path, body)
        if not isinstance(answer, bytes):
            answer = json.dumps(answer).encode()
            headers = {'Content-Type': 'application/json; charset=UTF-8', **headers}
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header('Content-Length', str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _body(self):
        if self.headers.get('Transfer-Encoding') != 'chunked':
            return self.rfile.read(int(self.headers.get('Content-Length') or 0))
        parts = []
        while size := int(self.rfile.readline().split(b';')[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b''.join(parts)

    def _answer(self, method, path, body):
        if path == '/batch/storage/v1':
            return self._batch(body)
        if match := re.fullmatch(r'/upload/storage/v1/b/([^/]+)/o', path):
            return self._upload(method, match[1], body)
        pattern = r'/storage/v1/b/([^/]+)/o/([^/]+)/(?:rewriteTo|copyTo)/b/([^/]+)/o/([^/]+)'
        if match := re.fullmatch(pattern, path):
            return self._copy(*map(urllib.parse.unquote, match.groups()))
        if match := re.fullmatch(r'/storage/v1/b/([^/]+)/o/([^/]+)/moveTo/o/([^/]+)', path):
            bucket, name, other = map(urllib.parse.unquote, match.groups())
            status, found, headers = self._copy(bucket, name, bucket, other)
            self.server.objects.pop(f'{bucket}/{name}', None)
            return status, found.get('resource', found), headers
        if match := re.fullmatch(r'(?:/download)?/storage/v1/b/([^/]+)/o/(.+)', path):
            return self._object(method, match[1], urllib.parse.unquote(match[2]))
        if match := re.fullmatch(r'/storage/v1/b/([^/]+)/o', path):
            return self._list(match[1])
        if match := re.fullmatch(r'/storage/v1/b/(?!missing)([^/]+)', path):
            return 200, {'kind': 'storage#bucket', 'id': match[1], 'name': match[1]}, {}
        if match := re.fullmatch(r'/storage/v1/b/([^/]+)/storageLayout', path):
            return 200, {'bucket': match[1], 'hierarchicalNamespace': {'enabled': False}}, {}
        if match := re.fullmatch(r'/([^/]+)/(.+)', path):  # the XML API
            self.query['alt'] = 'media'
            return self._object(method, match[1], urllib.parse.unquote(match[2]))
        return self._none(path)

    def _none(self, name):
        return 404, {'error': {'code': 404, 'message': f'no such object: {name}'}}, {}

    def _object(self, method, bucket, name):
        stored = self.server.objects.get(f'{bucket}/{name}')
        if stored is None:
            return self._none(name)
        data, generation = stored
        if method == 'DELETE':
            self.server.objects.pop(f'{bucket}/{name}', None)
            return 204, b'', {}
        if self.query.get('alt') != 'media':
            return 200, self.server.about(bucket, name), {}
        if self.query.get('ifGenerationNotMatch') == str(generation):
            return 304, b'', {}
        digest = _crc32c(data)
        headers = {
            'Content-Type': 'application/octet-stream',
            'x-goog-generation': str(generation),
            'x-goog-metageneration': '1',
            'x-goog-storage-class': 'STANDARD',
            'x-goog-hash': f'crc32c={digest}',
            'ETag': f'"{generation}"',
        }
        bounds = re.fullmatch(r'bytes=(\d*)-(\d*)', self.headers.get('Range', ''))
        if not bounds:
            return 200, data, headers
        if bounds[1]:
            first, last = int(bounds[1]), min(int(bounds[2] or len(data)), len(data) - 1)
        else:
            first, last = max(0, len(data) - int(bounds[2])), len(data) - 1
        if first >= len(data):
            return 416, b'', {'Content-Range': f'bytes */{len(data)}'}
        headers['Content-Range'] = f'bytes {first}-{last}/{len(data)}'
        return 206, data[first : last + 1], headers

    def _upload(self, method, bucket, body):
        kind = self.query.get('uploadType')
        if kind == 'multipart':
            boundary = re.search(r'boundary="?([^";]+)', self.headers['Content-Type'])[1].encode()
            _, about, data, _ = body.split(b'--' + boundary)
            about = json.loads(re.split(rb'\r?\n\r?\n', about, maxsplit=1)[1])
            data = re.split(rb'\r?\n\r?\n', data, maxsplit=1)[1]
            data = data[: -2 if data.endswith(b'\r\n') else -1]
            return 200, self.server.put(bucket, about.get('name', self.query.get('name')), data), {}
        if kind == 'resumable' and 'upload_id' not in self.query:
            name = self.query.get('name') or json.loads(body)['name']
            key = str(next(self.server.generations))
            self.server.uploads[key] = [name, b'']
            place = f'{self.server.url}/upload/storage/v1/b/{bucket}/o'
            return 200, {}, {'Location': f'{place}?uploadType=resumable&upload_id={key}'}
        if kind == 'resumable':
            upload = self.server.uploads[self.query['upload_id']]
            upload[1] += body
            if self.headers.get('Content-Range', '').endswith('/*'):
                end = {'Range': f'bytes=0-{len(upload[1]) - 1}'} if upload[1] else {}
                return 308, b'', end
            return 200, self.server.put(bucket, *upload), {}
        name, expected = self.query['name'], self.query.get('ifGenerationMatch')
        _, generation = self.server.objects.get(f'{bucket}/{name}', (b'', 0))
        if expected not in (None, str(generation)):
            return 412, {'error': {'code': 412, 'message': 'another generation'}}, {}
        return 200, self.server.put(bucket, name, body), {}

    def _copy(self, bucket, name, other_bucket, other):
        stored = self.server.objects.get(f'{bucket}/{name}')
        if stored is None:
            return self._none(name)
        about = self.server.put(other_bucket, other, stored[0])
        size = str(len(stored[0]))
        found = {'kind': 'storage#rewriteResponse', 'done': True, 'resource': about}
        return 200, found | {'objectSize': size, 'totalBytesRewritten': size}, {}

    def _list(self, bucket):
        prefix, delimiter = self.query.get('prefix', ''), self.query.get('delimiter')
        first, end = self.query.get('startOffset', ''), self.query.get('endOffset')
        items, prefixes = [], set()
        for key in sorted(self.server.objects):
            of, _, name = key.partition('/')
            if of != bucket or not name.startswith(prefix) or name < first or end and name >= end:
                continue
            rest = name[len(prefix) :]
            if delimiter and delimiter in rest:
                prefixes.add(prefix + rest.partition(delimiter)[0] + delimiter)
            else:
                items.append(self.server.about(bucket, name))
        return 200, {'kind': 'storage#objects', 'items': items, 'prefixes': sorted(prefixes)}, {}

    def _batch(self, body):
        """Several deletions in one request, as gcsfs sends them."""
        answers = []
        for path in re.findall(rb'DELETE (\S+) HTTP', body):
            path = urllib.parse.urlsplit(path.decode()).path
            bucket, name = re.fullmatch(r'/storage/v1/b/([^/]+)/o/(.+)', path).groups()
            status, _, _ = self._object('DELETE', bucket, urllib.parse.unquote(name))
            answers.append(
                f'--batch\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 {status} Done\r\n'
                'Content-Length: 0\r\n\r\n\r\n'
            )
        text = ''.join(answers) + '--batch--\r\n'
        return 200, text.encode(), {'Content-Type': 'multipart/mixed; boundary=batch'}
