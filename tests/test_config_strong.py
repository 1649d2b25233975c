"""Configs of strong fine-tuning: what contradicts itself is refused, earlier runs resume."""

import re

import pytest

from configs import ncc, segment
from genesis_jax.config import check_length, difference, resolve, to_json
from genesis_jax.errors import UserError

SAWTOOTH = {
    'init': 'x',
    'schedule.name': 'sawtooth',
    'schedule.warmup_steps': 10,
    'head_warmup_epochs': 2,
}
NEW = {'optimizer': ('nesterov', 'clip_norm'), 'schedule': ('power',)}


def strong(**fields):
    config = segment.get_config('strong')
    config.update_from_flattened_dict(fields)
    return config


@pytest.mark.parametrize(
    ('fields', 'sentence'),
    [
        ({'augment.rotation_probability': 1.5}, 'a probability between 0 and 1'),
        ({'augment.rotation_degrees': 200.0}, '=200.0: expected degrees from 0 to 180'),
        ({'augment.scale_range': (1.4, 0.7)}, 'low,high above 0, such as 0.7,1.4'),
        ({'augment.scale_range': (0.0, 1.4)}, 'low,high above 0'),
        ({'augment.blur_range': ('a', 'b')}, 'low,high above 0'),
        ({'augment.gamma_range': (1.1, 1.5)}, 'low,high with 1 between'),
        ({'augment.brightness_range': (0.5,)}, 'low,high with 1 between'),
        ({'augment.low_resolution_range': (0.5, 2.0)}, 'at most 1, such as 0.5,1'),
        ({'optimizer.clip_norm': -1.0}, '0 or more'),
        ({'optimizer.name': 'adam'}, 'weight_decay=3e-05: expected 0 with config.optimizer.name'),
        ({'schedule.power': 0.0}, 'a number above 0'),
        (SAWTOOTH | {'init': 'scratch', 'head_warmup_epochs': 0}, "=sawtooth: expected 'poly'"),
        (SAWTOOTH | {'head_warmup_epochs': 0}, 'head_warmup_epochs=0: expected 1 or more'),
        (SAWTOOTH | {'schedule.warmup_steps': 0}, 'warmup_steps=0: expected 1 or more with'),
    ],
)
def test_what_cannot_run_is_refused(fields, sentence):
    with pytest.raises(UserError, match=re.escape(sentence)):
        resolve(strong(**fields), devices=1)


def test_both_warm_ups_of_a_sawtooth_fit_in_the_run():
    config = resolve(strong(**SAWTOOTH, epochs=4), devices=1)
    check_length(config, steps_per_epoch=6)
    with pytest.raises(UserError, match='=10: expected fewer than the 10 after the warm-up of the'):
        check_length(config, steps_per_epoch=5)


def test_the_strong_variant():
    config = resolve(strong(), devices=1)
    assert config.patience > 1_000 and config.model.deep_supervision
    rare = {n: p for n, p in config.augment.items() if n.endswith('_probability')}
    plain = resolve(segment.get_config(), devices=1).augment
    assert sum(p > 0 for p in rare.values()) == 10 and sum(plain[n] > 0 for n in rare) == 3
    with pytest.raises(ValueError, match="no variant 'weak'; expected paper, strong"):
        segment.get_config('weak')


@pytest.mark.parametrize('config', [segment.get_config(), ncc.get_config()], ids=['seg', 'cls'])
def test_runs_without_these_fields_resume(config):
    config = resolve(config, devices=1)
    saved = to_json(config)
    for group, names in NEW.items():
        for name in names:
            del saved[group][name]
    old = ('flip_probability', 'transpose_probability', 'noise_probability', 'noise_sd')
    saved['augment'] = {name: saved['augment'][name] for name in old}
    saved['model'].pop('deep_supervision', None)
    assert difference(saved, config) is None
    config.optimizer.clip_norm = 12.0
    assert difference(saved, config) == ('optimizer.clip_norm', 0.0, 12.0)
