"""A Python client that openapi-python-client generates from the OpenAPI document: create, list,
get-edit-put, errors. Usage: IPVSD_TEST_TOKEN=TOKEN test.py http://ADDRESS, with the package
ipvsd_client beside it."""

import os
import sys

from ipvsd_client import AuthenticatedClient
from ipvsd_client.api.about import get_info
from ipvsd_client.api.servers import create_servers, get_server, replace_server, update_server
from ipvsd_client.api.services import create_service, delete_service, get_service, list_services
from ipvsd_client.api.services import replace_service
from ipvsd_client.api.settings import get_settings, update_settings
from ipvsd_client.models import Forwarding, Info, ListSort, Persistence, Problem, Protocol, Reason
from ipvsd_client.models import Server, ServerBatch, Service, ServiceInclude, ServiceList, Settings
from ipvsd_client.types import UNSET

SERVICE = "tcp-192.0.2.202-80"
client = AuthenticatedClient(
    base_url=sys.argv[1], token=os.environ["IPVSD_TEST_TOKEN"], raise_on_unexpected_status=True
)


def get() -> tuple[Service, str]:
    response = get_service.sync_detailed(SERVICE, client=client)
    assert isinstance(response.parsed, Service), response
    return response.parsed, response.headers["ETag"]


def servers(service: Service) -> list[Server]:
    assert isinstance(service.servers, list)
    return service.servers


def create() -> None:
    body = Service(
        id=SERVICE,
        scheduler="wrr",
        persistence=Persistence(timeout_seconds=60),
        servers=[Server(address="192.0.2.10", forwarding=Forwarding.MASQUERADE, weight=2)],
    )
    created = create_service.sync(client=client, body=body)
    assert isinstance(created, Service), created
    assert created.id == SERVICE and created.changed is True
    assert servers(created)[0].weight == 2
    again = create_service.sync(client=client, body=body)
    assert isinstance(again, Problem) and again.reason == Reason.SERVICE_EXISTS, again

    batch = ServerBatch(servers=[Server(address="192.0.2.11"), Server(address="192.0.2.12")])
    several = create_servers.sync(SERVICE, client=client, body=batch)
    assert isinstance(several, ServerBatch) and len(several.servers) == 2, several


def list_all() -> None:
    page = list_services.sync(
        client=client,
        include=[ServiceInclude.STATS, ServiceInclude.SERVERS],
        sort=[ListSort("-rates.connections")],
        protocol=Protocol.TCP,
    )
    assert isinstance(page, ServiceList), page
    found = [service for service in page.services if service.id == SERVICE]
    assert len(found) == 1 and found[0].stats and found[0].rates is UNSET, found
    assert found[0].protocol is Protocol.TCP


def get_edit_put() -> None:
    service, etag = get()
    unchanged = replace_service.sync(SERVICE, client=client, body=service)
    assert isinstance(unchanged, Service) and unchanged.changed is False, unchanged

    first = servers(service)[0]
    assert isinstance(first.weight, int)
    first.weight += 7
    service.scheduler = "wlc"
    service.persistence = None
    dry = replace_service.sync(SERVICE, client=client, body=service, if_match=etag, dry_run=True)
    assert isinstance(dry, Service) and dry.changed is True, dry
    assert get()[1] == etag
    changed = replace_service.sync(SERVICE, client=client, body=service, if_match=etag)
    assert isinstance(changed, Service) and changed.changed is True, changed
    assert changed.scheduler == "wlc" and changed.persistence is UNSET
    assert [s.weight for s in servers(changed) if s.id == first.id] == [first.weight]
    late = replace_service.sync(SERVICE, client=client, body=service, if_match=etag)
    assert isinstance(late, Problem) and late.reason == Reason.REVISION_MISMATCH, late


def patch() -> None:
    for weight, expected in [(0, 0), (None, 1)]:
        body = Server(weight=weight)
        updated = update_server.sync(SERVICE, "192.0.2.10-80", client=client, body=body)
        assert isinstance(updated, Server) and updated.weight == expected, updated
    server = get_server.sync(SERVICE, "192.0.2.10-80", client=client)
    assert isinstance(server, Server) and server.forwarding == Forwarding.MASQUERADE, server


def errors() -> None:
    missing = get_service.sync_detailed("udp-192.0.2.202-53", client=client)
    assert missing.status_code == 404 and isinstance(missing.parsed, Problem)
    assert missing.parsed.reason == Reason.SERVICE_NOT_FOUND
    invalid = replace_server.sync(SERVICE, "192.0.2.13-80", client=client, body=Server(weight=70000))
    assert isinstance(invalid, Problem) and invalid.status == 400, invalid
    assert isinstance(invalid.errors, list) and invalid.errors[0].field == "weight"


def others() -> None:
    settings = get_settings.sync(client=client)
    assert isinstance(settings, Settings), settings
    same = update_settings.sync(client=client, body=settings)
    assert isinstance(same, Settings) and same.changed is False, same
    info = get_info.sync(client=client)
    assert isinstance(info, Info) and info.kernel.kind.value == "fake", info
    for allow_missing in [False, True]:
        deleted = delete_service.sync_detailed(
            SERVICE, client=client, allow_missing=allow_missing, x_request_id="test"
        )
        assert deleted.status_code == 204, deleted


for step in [create, list_all, get_edit_put, patch, errors, others]:
    step()
