"""What the data sets are: their parts, where they may lie, where they come from.

A set is looked for in the folder MINICREDIT_DATA names, then in the user's cache folder, under
each of its `places`: a folder that must hold the `files` of its version, or one archive.
"""
import os
from pathlib import Path
from typing import NamedTuple

from minicredit.errors import UserError

DIGITS = ("digits-images-idx3-ubyte", "digits-labels-idx1-ubyte")
IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte",
       "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
PACKED = ("", ".gz", ".xz")


class Known(NamedTuple):
    """One data set.

    `places` are (path, names of the files in that folder; none where the path is an archive).
    `downloads` are {file: (sha256, bytes)}, the same files on each of the `mirrors`; they go to
    the folder called `home`.
    """

    images: tuple           # training, validation, test
    shape: tuple            # of one image: rows, columns, and channels where it has colours
    classes: tuple
    places: tuple
    home: str
    downloads: dict
    mirrors: tuple
    terms: str
    source: str


NUMERALS = tuple("0123456789")
SETS = {
    "digits": Known(
        images=(1294, 143, 360), shape=(8, 8), classes=NUMERALS,
        places=(), home="", downloads={}, mirrors=(),
        terms="CC BY 4.0",
        source="E. Alpaydin, C. Kaynak (1998), Optical Recognition of Handwritten Digits, UCI "
               "Machine Learning Repository, doi:10.24432/C50P49"),
    "mnist": Known(
        images=(55_000, 5_000, 10_000), shape=(28, 28), classes=NUMERALS,
        places=(("mnist", IDX), ("MNIST/raw", IDX)), home="mnist",
        downloads={
            "train-images-idx3-ubyte.gz":
            ("440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609", 9_912_422),
            "train-labels-idx1-ubyte.gz":
            ("3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c", 28_881),
            "t10k-images-idx3-ubyte.gz":
            ("8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6", 1_648_877),
            "t10k-labels-idx1-ubyte.gz":
            ("f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6", 4_542)},
        mirrors=("https://ossci-datasets.s3.amazonaws.com/mnist/",
                 "https://storage.googleapis.com/cvdf-datasets/mnist/"),
        terms="copyright Y. LeCun and C. Cortes; commonly given as CC BY-SA 3.0",
        source="Y. LeCun, L. Bottou, Y. Bengio, P. Haffner (1998), Gradient-based learning "
               "applied to document recognition"),
    "fashion-mnist": Known(
        images=(55_000, 5_000, 10_000), shape=(28, 28),
        classes=("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt",
                 "Sneaker", "Bag", "Ankle boot"),
        places=(("fashion-mnist", IDX), ("FashionMNIST/raw", IDX)), home="fashion-mnist",
        downloads={
            "train-images-idx3-ubyte.gz":
            ("3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84", 26_421_880),
            "train-labels-idx1-ubyte.gz":
            ("a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845", 29_515),
            "t10k-images-idx3-ubyte.gz":
            ("346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073", 4_422_102),
            "t10k-labels-idx1-ubyte.gz":
            ("67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5", 5_148)},
        mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
                 "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/"),
        terms="MIT licence, (c) 2017 Zalando SE",
        source="H. Xiao, K. Rasul, R. Vollgraf (2017), Fashion-MNIST, arXiv:1708.07747"),
    "cifar10": Known(
        images=(45_000, 5_000, 10_000), shape=(32, 32, 3),
        classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship",
                 "truck"),
        places=(("cifar-10-batches-bin", tuple(f"{name}.bin" for name in BATCHES)),
                ("cifar-10-batches-py", BATCHES),
                ("cifar-10-binary.tar.gz", ()), ("cifar10/cifar-10-binary.tar.gz", ()),
                ("cifar-10-python.tar.gz", ()), ("cifar10/cifar-10-python.tar.gz", ())),
        home="cifar10",
        downloads={
            "cifar-10-binary.tar.gz":
            ("c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd", 170_052_171)},
        mirrors=("https://www.cs.toronto.edu/~kriz/",
                 "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/"),
        terms="no formal licence; published for research",
        source="A. Krizhevsky (2009), Learning Multiple Layers of Features from Tiny Images"),
}


def known(name):
    """The entry for `name`, or the list of names there are."""
    if name not in SETS:
        raise UserError(f"no data set is called {name!r}; there are {', '.join(SETS)}, and "
                        "folder:PATH for class folders of pictures")
    return SETS[name]


def roots():
    """The folders that may hold data sets, the first to look in first."""
    if os.environ.get("MINICREDIT_DATA"):
        yield Path(os.environ["MINICREDIT_DATA"]).expanduser()
    import pooch                    # here: who has the data in MINICREDIT_DATA need not wait for it
    yield Path(pooch.os_cache("minicredit"))


def variant(folder, file):
    """`file` in `folder`, plain or packed; None if it is not there."""
    paths = [folder / (file + packed) for packed in PACKED]
    return next((path for path in paths if path.is_file()), None)


def lacking(place, files):
    """The first of `files` that is not in the folder `place`; None if it has them all."""
    return next((file for file in files if variant(place, file) is None), None)


def find(name):
    """The first complete copy of a set on this machine: its folder or archive, or None."""
    for root in roots():
        for place, files in known(name).places:
            path = root / place
            if path.is_dir() if files else path.is_file():
                if lacking(path, files) is None:
                    return path
    return None


def missing(name):
    """The sentence for a set that `find` did not find."""
    tried, parts = list(roots()), []
    for root in tried:
        for place, files in known(name).places:
            if files and (root / place).is_dir():
                parts.append(f"{root / place} lacks {lacking(root / place, files)}")
    return (f"{name}: not found in {' or '.join(map(str, tried))}"
            f"{''.join('; ' + part for part in parts)}; run `minicredit data get {name}`, or set "
            "MINICREDIT_DATA to the folder that has it")
