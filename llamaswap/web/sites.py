"""One configuration, made ready for serving: names, keys, filter plans, connections to peers.

A reload and the choice of a profile build a new one and swap the reference; requests that began under the old one
finish under it.
"""
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Callable, Dict, Mapping, NamedTuple, Optional, Pattern, Tuple

from llamaswap.core.config import Config, Peer, Timeouts
from llamaswap.core.faults import ConfigFault
from llamaswap.core.filters import FilterPlan, build_plan
from llamaswap.core.regexes import compile_re2
from llamaswap.core.routing import Names, Resolution, Where
from llamaswap.runtime.upstream import Endpoint, UpstreamPool
from llamaswap.web.auth import Keyring, Origins, Proxies

MakePool = Callable[[Endpoint, Timeouts], UpstreamPool]
ParseEndpoint = Callable[[str], Endpoint]


class PeerLink(NamedTuple):
    """A peer and the way to it; `fault` instead of a pool when its address cannot be used."""

    peer: Peer
    plan: FilterPlan
    endpoint: Optional[Endpoint]
    pool: Optional[UpstreamPool]
    fault: Optional[ConfigFault] = None


@dataclass(frozen=True)
class Site:
    config: Config
    names: Names
    keyring: Keyring
    plans: Mapping[str, FilterPlan]
    peers: Mapping[str, PeerLink]
    ignored: Tuple[Pattern[str], ...]
    origins: Origins
    proxies: Proxies
    profile: Optional[str] = None      # the active one

    @property
    def pins(self) -> Mapping[str, str]:
        return self.config.profiles[self.profile].pins if self.profile is not None else {}

    def with_profile(self, profile: Optional[str]) -> Site:
        """The same with another active profile. KeyError when there is none of that name."""
        pins = self.config.profiles[profile].pins if profile is not None else {}
        return replace(self, names=self.names.with_pins(pins), profile=profile)

    def continuing(self, before: Site) -> Site:
        """The same with the profile that was active before, as long as there is one of that name."""
        return self.with_profile(before.profile) if before.profile in self.config.profiles else self

    def resolve(self, name: str) -> Resolution:
        found = self.names.resolve(name)
        if found.where is not Where.NONE:
            return found
        return self._resolve_member(name) or found

    def _resolve_member(self, name: str) -> Optional[Resolution]:
        """`profile/model` and `profile:model`, from when a profile was a list of models."""
        for separator in "/:":
            profile, found, model = name.partition(separator)
            if found and profile in self.config.member_lists:
                resolution = self.names.resolve_target(model)
                if resolution.id in self.config.member_lists[profile]:
                    return resolution
        return None

    def is_ignored(self, path: str) -> bool:
        """May this path below /upstream/<model> not start the model?"""
        return any(pattern.search(path) for pattern in self.ignored)

    def close(self) -> None:
        for link in self.peers.values():
            if link.pool is not None:
                link.pool.close()


def make_site(config: Config, make_pool: MakePool) -> Site:
    names = Names(config.models, config.aliases, {peer.id: peer.models for peer in config.peers.values()},
                  config.selectors)
    plans = {model.id: build_plan(model.filters, use_model_name=model.use_model_name)
             for model in config.models.values()}
    peers: Dict[str, PeerLink] = {peer.id: _link(peer, make_pool) for peer in config.peers.values()}
    return Site(config, names, Keyring(config.api_keys), plans, peers,
                tuple(compile_re2(source) for source in config.ignore_paths), Origins(config.cors_origins),
                Proxies(config.trusted_proxies))


def _link(peer: Peer, make_pool: MakePool) -> PeerLink:
    plan = build_plan(peer.filters)
    try:
        endpoint = Endpoint.parse(peer.proxy)
    except ConfigFault as fault:
        return PeerLink(peer, plan, None, None, fault)
    return PeerLink(peer, plan, endpoint, make_pool(endpoint, peer.timeouts))
