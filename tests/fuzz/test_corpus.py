"""Every input that the fuzzer once found worth keeping holds its target's promises."""

from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_of_a_target_keeps_its_promises(name):
    files = sorted((CORPUS / name).iterdir())
    assert files, f"no input in {CORPUS / name}"
    for file in files:
        try:
            TARGETS[name](file.read_bytes())
        except Exception as error:
            error.add_note(f"with {file}")
            raise


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_is_too_short(name):
    for size in range(4):
        TARGETS[name](bytes(size))
