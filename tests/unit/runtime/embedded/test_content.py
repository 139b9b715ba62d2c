import io

import pytest

from kutter.runtime.embedded.content import ContentStore, DigestError, compute_digest


def test_keeps_what_has_the_right_digest_only(tmp_path):
    store = ContentStore(tmp_path)
    digest = store.write(b"hello")
    assert store.read(digest) == b"hello"
    with pytest.raises(DigestError):
        store.write(b"other", compute_digest(b"not other"))
    assert store.list_digests() == [digest]
    assert list((tmp_path / "ingest").iterdir()) == []


def test_an_ingest_is_resumed_after_a_crash(tmp_path):
    digest = compute_digest(b"0123456789")
    with ContentStore(tmp_path).open_ingest(digest) as ingest:
        ingest.write(b"01234")
    with ContentStore(tmp_path).open_ingest(digest) as ingest:
        assert ingest.offset == 5
        ingest.write(b"56789")
        ingest.commit()
    assert ContentStore(tmp_path).read(digest) == b"0123456789"


def test_a_wrong_beginning_is_dropped(tmp_path):
    store = ContentStore(tmp_path)
    digest = compute_digest(b"good")
    with store.open_ingest(digest) as ingest:
        ingest.write(b"bad!")
        with pytest.raises(DigestError):
            ingest.commit()
    with store.open_ingest(digest) as ingest:
        assert ingest.offset == 0
        ingest.write(b"xx")
        ingest.restart()
        ingest.write(b"good")
        ingest.commit()
    assert store.has(digest)


def test_a_damaged_blob_is_told(tmp_path):
    store = ContentStore(tmp_path)
    digest = store.write_stream(io.BytesIO(b"hello"))
    store.path(digest).write_bytes(b"hellO")
    with pytest.raises(DigestError):
        store.read(digest)
