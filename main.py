"""Pre-trains or fine-tunes a network: `python main.py --config=configs/NAME.py --workdir=DIR`.

    python main.py --config=configs/genesis_ct.py --workdir=runs/genesis_ct
    python main.py --config=configs/ncc.py --workdir=runs/ncc --config.init=runs/genesis_ct

Any field of the config is set from the command line (`--config.optimizer.learning_rate=0.1`); the
config files explain them. Running the same command again resumes the run in that folder.
"""

import sys

from absl import app, flags, logging
from ml_collections import config_flags

from genesis_jax import parallel
from genesis_jax.cli.flags import parse_flags
from genesis_jax.errors import UserError, need
from genesis_jax.finetune import finetune
from genesis_jax.paths import as_path, is_url
from genesis_jax.pretrain import pretrain
from genesis_jax.runs import report

_CONFIG = config_flags.DEFINE_config_file(
    'config',
    None,
    'The experiment: configs/NAME.py[:VARIANT]. --config.FIELD=VALUE changes a field.',
)
_WORKDIR = flags.DEFINE_string(
    'workdir',
    None,
    'Folder of the run, also gs://BUCKET/...: checkpoints, logs, exports.',
    required=True,
)


def main(_: list[str]) -> None:
    logging.set_verbosity(logging.WARNING)  # libraries tell every file they touch
    try:
        parallel.start()
        _prepare_demo(_CONFIG.value.data)
        if _CONFIG.value.task == 'restoration':
            pretrain(_CONFIG.value, _WORKDIR.value, _recipe())
        else:
            finetune(_CONFIG.value, _WORKDIR.value, _recipe())
    except UserError as error:
        sys.exit(f'error: {error}')


def _prepare_demo(data):
    """Prepares the dataset of configs/demo.py on first use; every other one is the user's."""
    folder = as_path(data.dir)
    if data.name != 'ct_chest_demo' or any((folder / data.name).glob('*')):
        return
    if is_url(folder):
        raise UserError(
            f'there is no demo in config.data.dir={folder}, and it is prepared on this machine '
            'only; run python -m data_prep.demo and copy its folder there'
        )
    need('demo', 'preparing the demo')
    from data_prep import demo

    try:
        demo.prepare_demo(folder)
    except OSError as error:
        raise UserError(
            f'cannot write the demo in config.data.dir={data.dir} ({error.strerror}); change it'
        ) from None


def _recipe():
    """The config's file, and what the command line changed."""
    flag = flags.FLAGS['config']
    file = config_flags.get_config_filename(flag)
    return report.describe_recipe(_CONFIG.value, file, flag.parser.parse(file))


if __name__ == '__main__':
    flags.FLAGS['config'].default_as_str = None  # it has none, so the help shows none
    flags.mark_flag_as_required('config')
    app.run(main, flags_parser=parse_flags)
