"""Judge Media over QUIC (MoQT) relays with pytest.

Everything a test of a relay needs is a name of this package. The names are loaded when they are first
used, so that a command that only lists names does not pay for a QUIC stack.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pytest_moqt.client.connection import VERSION_1 as VERSION_1
    from pytest_moqt.client.connection import VERSION_2 as VERSION_2
    from pytest_moqt.client.connection import Loss as Loss
    from pytest_moqt.client.connection import QuicFacts as QuicFacts
    from pytest_moqt.client.connection import QuicOptions as QuicOptions
    from pytest_moqt.client.connection import Ticket as Ticket
    from pytest_moqt.client.errors import ConnectError as ConnectError
    from pytest_moqt.client.failures import CaseFailure as CaseFailure
    from pytest_moqt.client.failures import NotConnected as NotConnected
    from pytest_moqt.client.failures import RequestAbandoned as RequestAbandoned
    from pytest_moqt.client.failures import SessionEnded as SessionEnded
    from pytest_moqt.client.failures import SetupError as SetupError
    from pytest_moqt.client.opening import Opening as Opening
    from pytest_moqt.client.raw import RawStream as RawStream
    from pytest_moqt.client.session import ClientSession as ClientSession
    from pytest_moqt.client.session import FetchStream as FetchStream
    from pytest_moqt.client.session import SubgroupStream as SubgroupStream
    from pytest_moqt.protocol.drafts import Draft as Draft
    from pytest_moqt.protocol.drafts import Topology as Topology
    from pytest_moqt.protocol.errors import LocalProtocolError as LocalProtocolError
    from pytest_moqt.protocol.errors import MoqtError as MoqtError
    from pytest_moqt.protocol.errors import RemoteProtocolError as RemoteProtocolError
    from pytest_moqt.protocol.events import Close as Close
    from pytest_moqt.protocol.events import DataStreamEnded as DataStreamEnded
    from pytest_moqt.protocol.events import DataStreamReset as DataStreamReset
    from pytest_moqt.protocol.events import ObjectReceived as ObjectReceived
    from pytest_moqt.protocol.framing import Frame as Frame
    from pytest_moqt.protocol.messages import UNKNOWN_STREAM_COUNT as UNKNOWN_STREAM_COUNT
    from pytest_moqt.protocol.messages import Fetch as Fetch
    from pytest_moqt.protocol.messages import FetchCancel as FetchCancel
    from pytest_moqt.protocol.messages import FetchOk as FetchOk
    from pytest_moqt.protocol.messages import FilteredFetch as FilteredFetch
    from pytest_moqt.protocol.messages import Goaway as Goaway
    from pytest_moqt.protocol.messages import JoiningFetch as JoiningFetch
    from pytest_moqt.protocol.messages import MaxRequestId as MaxRequestId
    from pytest_moqt.protocol.messages import Message as Message
    from pytest_moqt.protocol.messages import Namespace as Namespace
    from pytest_moqt.protocol.messages import NamespaceDone as NamespaceDone
    from pytest_moqt.protocol.messages import Publish as Publish
    from pytest_moqt.protocol.messages import PublishBlocked as PublishBlocked
    from pytest_moqt.protocol.messages import PublishDone as PublishDone
    from pytest_moqt.protocol.messages import PublishNamespace as PublishNamespace
    from pytest_moqt.protocol.messages import PublishNamespaceCancel as PublishNamespaceCancel
    from pytest_moqt.protocol.messages import PublishNamespaceDone as PublishNamespaceDone
    from pytest_moqt.protocol.messages import PublishStateNotify as PublishStateNotify
    from pytest_moqt.protocol.messages import Reply as Reply
    from pytest_moqt.protocol.messages import Request as Request
    from pytest_moqt.protocol.messages import RequestError as RequestError
    from pytest_moqt.protocol.messages import RequestOk as RequestOk
    from pytest_moqt.protocol.messages import RequestsBlocked as RequestsBlocked
    from pytest_moqt.protocol.messages import RequestUpdate as RequestUpdate
    from pytest_moqt.protocol.messages import Setup as Setup
    from pytest_moqt.protocol.messages import StandaloneFetch as StandaloneFetch
    from pytest_moqt.protocol.messages import Subscribe as Subscribe
    from pytest_moqt.protocol.messages import SubscribeNamespace as SubscribeNamespace
    from pytest_moqt.protocol.messages import SubscribeOk as SubscribeOk
    from pytest_moqt.protocol.messages import SubscribeTracks as SubscribeTracks
    from pytest_moqt.protocol.messages import TrackStatus as TrackStatus
    from pytest_moqt.protocol.messages import Unsubscribe as Unsubscribe
    from pytest_moqt.protocol.messages import UnsubscribeNamespace as UnsubscribeNamespace
    from pytest_moqt.protocol.objects import FetchHeader as FetchHeader
    from pytest_moqt.protocol.objects import FetchObject as FetchObject
    from pytest_moqt.protocol.objects import FetchRangeEnd as FetchRangeEnd
    from pytest_moqt.protocol.objects import ObjectDatagram as ObjectDatagram
    from pytest_moqt.protocol.objects import StreamObject as StreamObject
    from pytest_moqt.protocol.objects import SubgroupHeader as SubgroupHeader
    from pytest_moqt.protocol.parameters import Parameter as Parameter
    from pytest_moqt.protocol.parameters import Property as Property
    from pytest_moqt.protocol.parameters import SetupOption as SetupOption
    from pytest_moqt.protocol.registries import PublishDoneStatus as PublishDoneStatus
    from pytest_moqt.protocol.registries import RequestErrorCode as RequestErrorCode
    from pytest_moqt.protocol.registries import SessionError as SessionError
    from pytest_moqt.protocol.registries import StreamError as StreamError
    from pytest_moqt.protocol.spans import Span as Span
    from pytest_moqt.protocol.spans import drafts as drafts
    from pytest_moqt.protocol.transport import Ending as Ending
    from pytest_moqt.protocol.values import Filter as Filter
    from pytest_moqt.protocol.values import FilterType as FilterType
    from pytest_moqt.protocol.values import GroupOrder as GroupOrder
    from pytest_moqt.protocol.values import KeyValues as KeyValues
    from pytest_moqt.protocol.values import Location as Location
    from pytest_moqt.protocol.values import RangeFilter as RangeFilter
    from pytest_moqt.protocol.values import Redirect as Redirect
    from pytest_moqt.protocol.values import Token as Token
    from pytest_moqt.protocol.values import TokenAlias as TokenAlias
    from pytest_moqt.protocol.values import TrackNamespace as TrackNamespace
    from pytest_moqt.target import RelayUnderTest as RelayUnderTest

_HOMES = {
    "client.connection": "Loss QuicFacts QuicOptions Ticket VERSION_1 VERSION_2",
    "client.errors": "ConnectError",
    "client.failures": "CaseFailure NotConnected RequestAbandoned SessionEnded SetupError",
    "client.opening": "Opening",
    "client.raw": "RawStream",
    "client.session": "ClientSession FetchStream SubgroupStream",
    "protocol.drafts": "Draft Topology",
    "protocol.errors": "LocalProtocolError MoqtError RemoteProtocolError",
    "protocol.events": "Close DataStreamEnded DataStreamReset ObjectReceived",
    "protocol.messages": """
        Fetch FetchCancel FetchOk FilteredFetch Goaway JoiningFetch MaxRequestId Message Namespace
        NamespaceDone Publish PublishBlocked PublishDone PublishNamespace PublishNamespaceCancel
        PublishNamespaceDone PublishStateNotify Reply Request RequestError RequestOk RequestUpdate
        RequestsBlocked Setup StandaloneFetch Subscribe SubscribeNamespace SubscribeOk SubscribeTracks
        TrackStatus
        UNKNOWN_STREAM_COUNT Unsubscribe UnsubscribeNamespace
    """,
    "protocol.framing": "Frame",
    "protocol.objects": "FetchHeader FetchObject FetchRangeEnd ObjectDatagram StreamObject SubgroupHeader",
    "protocol.parameters": "Parameter Property SetupOption",
    "protocol.registries": "PublishDoneStatus RequestErrorCode SessionError StreamError",
    "protocol.transport": "Ending",
    "protocol.values": """
        Filter FilterType GroupOrder KeyValues Location RangeFilter Redirect Token TokenAlias
        TrackNamespace
    """,
    "protocol.spans": "Span drafts",
    "target": "RelayUnderTest",
}
"Module to the names that are public here; a test holds them equal to the imports above."


def __getattr__(name: str) -> object:
    if name == "__version__":
        return _read_version()
    for home, names in _HOMES.items():
        if name in names.split():
            from importlib import import_module

            value: object = getattr(import_module(f"{__name__}.{home}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), "__version__", *(name for names in _HOMES.values() for name in names.split())})


def _read_version() -> str:
    """The version of this package; from a file when there is one, since asking the installer is slow."""
    try:
        from pytest_moqt._version import version  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        from importlib.metadata import PackageNotFoundError
        from importlib.metadata import version as installed

        try:
            return installed("pytest-moqt")
        except PackageNotFoundError:
            return "0+unknown"
    return str(version)
