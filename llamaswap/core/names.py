"""Everything a request can call a model, and the rule that no two things share a name."""
from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Set

from llamaswap.core.decode import Decoder
from llamaswap.core.policy import Policy, did_you_mean
from llamaswap.core.settings import Model, Peer, Profile, Selector, Strings
from llamaswap.core.tree import Path

Row = Mapping[str, Any]


def build_aliases(models: Mapping[str, Model], report: Decoder) -> Dict[str, str]:
    """Alias to model ID: the explicit ones, then every setParamsByID name."""
    aliases: Dict[str, str] = {}
    for model in models.values():
        for index, alias in enumerate(model.aliases):
            path: Path = ("models", model.id, "aliases", index)
            if alias in aliases:
                report.error(path, f'duplicate alias "{alias}", already an alias of model "{aliases[alias]}"')
                continue
            if alias in models:
                report.warn(path, f'alias "{alias}" is never used: a model has that ID and the ID wins')
            aliases[alias] = model.id
    for model in models.values():
        for name in model.filters.set_params_by_id:
            path = ("models", model.id, "filters", "setParamsByID", name)
            if name == model.id:
                continue
            if name in models:
                report.error(path, f'"{name}" conflicts with an existing model ID')
            elif aliases.setdefault(name, model.id) != model.id:
                report.error(path, f'duplicate alias "{name}", already an alias of model "{aliases[name]}"')
    return aliases


class Directory:
    """Who answers to which name, for checking references."""

    def __init__(self, models: Mapping[str, Model], aliases: Mapping[str, str], peers: Mapping[str, Peer]) -> None:
        self.models = models
        self.aliases = aliases
        self.qualified = {f"{peer.id}/{name}" for peer in peers.values() for name in peer.models}
        owners: Dict[str, Set[str]] = {}
        for peer in peers.values():
            for name in peer.models:
                owners.setdefault(name, set()).add(peer.id)
        self.bare = {name: next(iter(ids)) for name, ids in owners.items() if len(ids) == 1}

    def local(self, name: str) -> Optional[str]:
        return name if name in self.models else self.aliases.get(name)

    def target(self, name: str) -> Optional[str]:
        """One spelling per model, so that two names of the same one can be told apart from two models."""
        local = self.local(name)
        if local is not None:
            return local
        if name in self.qualified:
            return name
        return f"{self.bare[name]}/{name}" if name in self.bare else None


def check_peer_names(peers: Mapping[str, Peer], directory: Directory, selectors: Mapping[str, Any],
                     profiles: Mapping[str, Profile], report: Decoder) -> None:
    """`peer/model` belongs to the peer alone."""
    owner: Dict[str, str] = {}
    for peer in peers.values():
        for index, name in enumerate(peer.models):
            qualified = f"{peer.id}/{name}"
            path: Path = ("peers", peer.id, "models", index)
            if owner.get(qualified, peer.id) != peer.id:
                report.error(path, f'"{qualified}" could mean a model of peer "{owner[qualified]}" as well')
            owner.setdefault(qualified, peer.id)
            _check_taken(qualified, path, directory, selectors, profiles, report)


def _check_taken(qualified: str, path: Path, directory: Directory, selectors: Mapping[str, Any],
                 profiles: Mapping[str, Profile], report: Decoder) -> None:
    what = []
    if qualified in directory.models:
        what.append("a model has that ID")
    if qualified in directory.aliases:
        what.append(f'model "{directory.aliases[qualified]}" has that alias')
    if qualified in selectors:
        what.append("a selector has that name")
    what.extend(f'profile "{profile.id}" pins that name' for profile in profiles.values() if qualified in profile.pins)
    for why in what:
        report.error(path, f'"{qualified}" is the full name of this model, but {why}')


# --- selectors -------------------------------------------------------------------------------------------------

def build_selectors(rows: Mapping[str, Row], directory: Directory, policy: Policy,
                    report: Decoder) -> Dict[str, Selector]:
    selectors: Dict[str, Selector] = {}
    for name, row in rows.items():
        path: Path = ("selectors", name)
        selectors[name] = Selector(id=name, strategy=row["strategy"], targets=row["targets"],
                                   spillover=row["settings"]["spillover"], name=row["name"],
                                   description=row["description"], unlisted=row["unlisted"], metadata=row["metadata"])
        if not name.strip():
            report.error(path, "a selector needs a name")
        elif name in directory.models:
            report.error(path, f'conflicts with model ID "{name}"')
        elif name in directory.aliases:
            report.error(path, f'conflicts with an alias of model "{directory.aliases[name]}"')
        if not row["strategy"]:
            report.error((*path, "strategy"), "is required; valid: warm, pin, spillover")
        _check_targets(selectors[name], rows, directory, policy, report)
    return selectors


def _check_targets(selector: Selector, rows: Mapping[str, Row], directory: Directory, policy: Policy,
                   report: Decoder) -> None:
    path: Path = ("selectors", selector.id)
    if not selector.targets:
        report.error((*path, "targets"), "must contain at least one entry")
        return
    resolved: List[str] = []
    for index, target in enumerate(selector.targets):
        at = (*path, "targets", index)
        found = directory.target(target)
        if target in rows and directory.local(target) is None and target not in directory.qualified:
            report.error(at, f'"{target}" is a selector; a selector cannot choose among selectors')
        elif found is None:
            report.error(at, f'no model "{target}"{did_you_mean(target, directory.models)}')
        elif selector.strategy == "warm" and directory.local(target) is None:
            report.error(at, f'"{target}" is not a local model, which strategy warm needs')
        else:
            resolved.append(found)
    if selector.strategy == "spillover" and len(resolved) == len(selector.targets):
        _check_spillover(selector, resolved, directory, policy, report)


def _check_spillover(selector: Selector, resolved: List[str], directory: Directory, policy: Policy,
                     report: Decoder) -> None:
    path: Path = ("selectors", selector.id)
    if selector.spillover < 1:
        report.error((*path, "settings", "spillover"), f"must be at least 1, found {selector.spillover}")
    twice = sorted({name for name in resolved if resolved.count(name) > 1})
    if twice:
        report.error((*path, "targets"), f'"{twice[0]}" is named more than once')
        return
    local = [name for name in resolved if name in directory.models]
    if len(local) < 2:
        return
    if policy.router == "matrix":
        if policy.matrix is not None and not policy.matrix.can_coexist(local):
            report.error((*path, "targets"), "must all appear together in one matrix set")
        return
    homes = {group.name: group for group in policy.groups for name in local if name in group.members}
    if len(homes) > 1:
        report.error((*path, "targets"), f"must share one group, found them in {', '.join(sorted(homes))}")
    elif any(group.swap for group in homes.values()):
        report.error((*path, "targets"), f'must share a group with swap: false, but "{next(iter(homes))}" swaps')


# --- profiles --------------------------------------------------------------------------------------------------

def build_profiles(rows: Mapping[str, Row], directory: Directory, selectors: Mapping[str, Any],
                   report: Decoder) -> Dict[str, Profile]:
    profiles: Dict[str, Profile] = {}
    for name, row in rows.items():
        path: Path = ("profiles", name)
        profiles[name] = Profile(name, row["description"], row["pins"])
        if not name.strip():
            report.error(path, "a profile needs a name")
        if not row["pins"]:
            report.error((*path, "pins"), "must contain at least one entry")
        for pin, target in row["pins"].items():
            if not pin.strip():
                report.error((*path, "pins"), "a pin needs a name")
            if target and directory.target(target) is None and target not in selectors:
                report.error((*path, "pins", pin), f'no model "{target}"'
                                                   f"{_ambiguous(target, directory)}")
    return profiles


def _ambiguous(name: str, directory: Directory) -> str:
    full = sorted(known for known in directory.qualified if known.endswith("/" + name))
    return f"; write {' or '.join(full)}" if full else did_you_mean(name, directory.models)


def resolve_members(lists: Mapping[str, Strings], directory: Directory, report: Decoder) -> Dict[str, Strings]:
    """The old list profiles, with aliases replaced by IDs."""
    resolved: Dict[str, Strings] = {}
    for name, members in lists.items():
        path: Path = ("profiles", name)
        report.warn(path, "a list of models is the old form of profiles; use groups or a matrix. Until then "
                          f"{name}/model and {name}:model reach its members")
        found = []
        for index, member in enumerate(members):
            local = directory.local(member)
            if local is None:
                report.warn((*path, index), f'no model "{member}"{did_you_mean(member, directory.models)}')
            else:
                found.append(local)
        resolved[name] = tuple(dict.fromkeys(found))
    return resolved
