"""In what the configs of compared methods differ, besides what is compared."""

from collections import defaultdict

_COMPARED = {'init', 'label_fraction'}
_NO_RECIPE = {'seed', 'runs', 'data.dir', 'data.fold'}  # other luck or place, the same recipe
_ABSENT = 'absent'


def differences(entries, expected=(), only=None) -> list[str]:
    """A line for each config field that differs: its values, and which methods have them.

    Fields that are `expected` to differ are left out; `only` (None: all) are looked at.

    Such a difference may explain the results, as well as what the methods are named for.
    """
    fields = set().union(*(entry.workdir.config for entry in entries))
    lines = []
    fields = fields if only is None else fields & set(only)
    for field in sorted(fields - _COMPARED - _NO_RECIPE - set(expected)):
        owners = defaultdict(list)
        for entry in entries:
            value = entry.workdir.config.get(field, _ABSENT)
            owners[_shown(value)].append(entry)
        if len(owners) > 1:
            values = (f'{value} ({_names(some, entries)})' for value, some in owners.items())
            lines.append(f'`{field}`: {"; ".join(values)}')
    return lines


def _shown(value):
    return 'none' if value is None else str(value)


def _names(some, entries):
    """The methods among `some` entries; with their labels where not all of a method's are there."""
    names = []
    for entry in some:
        whole = all(other in some for other in entries if other.method == entry.method)
        labels = f' with {100 * entry.workdir.label_fraction:g} % of the labels'
        names.append(entry.method + ('' if whole else labels))
    return ', '.join(dict.fromkeys(names))
