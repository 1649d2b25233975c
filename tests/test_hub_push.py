"""A folder goes to the Hugging Face Hub as it is: here a server of this machine answers for it."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from test_hub import PRETRAINED, variables_of

from genesis_jax.convert import hub
from genesis_jax.convert.__main__ import main

pytest.importorskip('huggingface_hub', reason='folders are pushed with it')


class Hub(ThreadingHTTPServer):
    """Answers as the Hub does: `files` is what it was sent; `status`, of what it answers."""

    daemon_threads = True

    def __init__(self, status=200):
        super().__init__(('127.0.0.1', 0), _Answers)
        self.status, self.files, self.created = status, {}, None


class _Answers(BaseHTTPRequestHandler):
    def do_POST(self):
        text = self.rfile.read(int(self.headers['Content-Length'])).decode()
        hub, path = self.server, self.path
        if hub.status != 200:
            answer = {'error': 'no'}
        elif path.endswith('/repos/create'):
            hub.created = json.loads(text)
            answer = {'url': f'http://127.0.0.1:{hub.server_port}/someone/genesis'}
        elif '/preupload/' in path:
            rule = {'uploadMode': 'regular', 'shouldIgnore': False}
            answer = {'files': [rule | {'path': f['path']} for f in json.loads(text)['files']]}
        elif '/commit/' in path:
            for line in map(json.loads, text.splitlines()):
                if line['key'] == 'file':
                    hub.files[line['value']['path']] = base64.b64decode(line['value']['content'])
            answer = {'commitUrl': 'http://127.0.0.1/someone/genesis/commit/1', 'commitOid': '1'}
        else:
            answer = {'errors': [], 'warnings': []}  # of the YAML in README.md
        self._send(hub.status, answer)

    def do_GET(self):
        self._send(self.server.status, {'error': 'no'})

    def _send(self, status, answer):
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        """Nothing."""


@pytest.fixture
def serve(monkeypatch, tmp_path):
    servers = []

    def start(status=200):
        servers.append(Hub(status))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        url = f'http://127.0.0.1:{servers[-1].server_port}'
        monkeypatch.setattr('huggingface_hub.constants.ENDPOINT', url)
        return servers[-1]

    monkeypatch.setenv('HF_TOKEN', 'hf_of_a_test')
    monkeypatch.setattr('huggingface_hub.constants.HF_TOKEN_PATH', str(tmp_path / 'none'))
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def folder(tmp_path):
    """As a user has it who gave it a licence."""
    hub.write(tmp_path / 'genesis', variables_of(PRETRAINED), PRETRAINED)
    readme = tmp_path / 'genesis' / 'README.md'
    lines = readme.read_text().replace('license: "other"', 'license: "mit"').splitlines(True)
    readme.write_text(''.join(line for line in lines if 'license_name' not in line))
    return tmp_path / 'genesis'


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert stop.value.code
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_the_three_files_are_pushed_as_they_are(serve, folder, capsys):
    server = serve()
    (folder / 'notes.txt').write_text('private')
    assert main([str(folder), '--push=someone/genesis']) == 0
    names = ('README.md', 'config.json', 'model.safetensors')
    assert server.files == {name: (folder / name).read_bytes() for name in names}
    created = server.created  # (the field is of the library's version)
    assert created.get('private') or created['visibility'] == 'private'
    assert (created['organization'], created['name']) == ('someone', 'genesis')
    said = f':{server.server_port}/someone/genesis (private if it is new)'
    assert said in capsys.readouterr().out


def test_what_the_hub_refuses_is_one_sentence(serve, folder, capsys, monkeypatch):
    for status, remedy in ((401, 'HF_TOKEN to a token that may write there'), (500, 'later')):
        serve(status)
        line = refused(capsys, folder, '--push=someone/genesis')
        assert 'was not pushed to someone/genesis (' in line and f"'{status} " in line, line
        assert remedy in line, line
    assert 'expected OWNER/NAME' in refused(capsys, folder, '--push=a/b/c')
    monkeypatch.delenv('HF_TOKEN')
    assert 'there is no token' in refused(capsys, folder, '--push=someone/genesis')


def test_a_push_is_of_a_sound_folder_and_takes_no_other_option(folder, tmp_path, capsys):
    push = '--push=someone/genesis'
    hub.write(tmp_path / 'new', variables_of(PRETRAINED), PRETRAINED)
    assert 'README.md names no licence; write one' in refused(capsys, tmp_path / 'new', push)
    assert 'expected OWNER/NAME' in refused(capsys, folder, '--push=')
    (folder / 'model.safetensors').unlink()
    assert f'{folder} FOLDER --to=hub' in refused(capsys, folder, push)
    assert 'TARGET, or --push' in refused(capsys, folder)
    assert 'TARGET, or --push' in refused(capsys, folder, tmp_path / 'a', '--push=someone/genesis')
    for option in ('--dtype=float16', '--to=hub', '--from=hub'):
        line = refused(capsys, folder, push, option)
        assert f'{option.partition("=")[0]} has no effect with --push' in line
