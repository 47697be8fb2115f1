"""A name server on loopback that answers with the records it is given, for names that no real one knows."""

import socket
import threading
from collections.abc import Mapping
from typing import Self

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from connectory.testing.ports import IPV4_LOOPBACK

Records = Mapping[tuple[str, str], list[str]]


class NameServer:
    """Answers UDP queries on 127.0.0.1 with `records`, `(name, type)` to the texts of records as in a zone file.

    An unknown name is NXDOMAIN; with `records=None` it answers nothing at all.
    """

    def __init__(self, records: Records | None) -> None:
        self.host = IPV4_LOOPBACK
        self.port = 0
        self.questions: list[str] = []
        self._records = records

    def __enter__(self) -> Self:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((self.host, 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, name="name server", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", (self.host, self.port))
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            data, client = self._socket.recvfrom(4096)
            if not data:
                return
            query = dns.message.from_wire(data)
            question = query.question[0]
            name, kind = question.name.to_text(omit_final_dot=True), question.rdtype.name
            self.questions.append(f"{name} {kind}")
            if self._records is None:
                continue
            response = dns.message.make_response(query)
            response.flags |= dns.flags.AA
            if texts := self._records.get((name, kind)):
                response.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *texts))
            elif not any(known == name for known, _ in self._records):
                response.set_rcode(dns.rcode.NXDOMAIN)
            self._socket.sendto(response.to_wire(), client)
