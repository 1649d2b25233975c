"""The command-line options that preparations of images share."""

from data_prep.options import Parser, existing_file, existing_folder, network_sides


def add_image_size(parser: Parser) -> None:
    """The option of every 2D preparation for the size of its records."""
    parser.add_argument(
        '--size',
        type=network_sides(2),
        default=(256, 256),
        metavar='X,Y',
        help='pixels along x and y, multiples of 32, to which every image is resized (linearly, '
        'antialiased; another aspect ratio is stretched; default: 256,256)',
    )


def add_image_source(parser: Parser, holds: str, csv: str) -> None:
    """The options of every preparation of images for their folder and the table of their labels.

    Args:
      holds: what is in the folder.
      csv: what the table tells, and what holds without one.
    """
    parser.add_argument(
        '--source',
        type=existing_folder,
        required=True,
        metavar='DIR',
        help=f'folder that holds {holds}',
    )
    parser.add_argument('--csv', type=existing_file, metavar='FILE', help=csv)
