"""GET /v1/models: what can be asked for, in the shape OpenAI clients read, with our facts under `meta.llamaswap`."""
from __future__ import annotations

from collections import Counter
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional

from llamaswap.core.config import Capabilities, Config, Model, Selector

STOPPED = "stopped"
LIVE = ("starting", "ready", "stopping")
# With a capabilities block these say the same thing in our words; a user's own would contradict them.
_CLAIMED_BY_CAPABILITIES = ("architecture", "capabilities", "supported_parameters", "context_length")

Row = Dict[str, Any]


def list_models(config: Config, states: Mapping[str, str], *, created: int,
                pins: Optional[Mapping[str, str]] = None) -> List[Row]:
    """Every listed name, sorted. `states` of the models that have one; the others are stopped."""
    rows: List[Row] = []
    for model in config.models.values():
        if not model.unlisted:
            rows.append(_model_row(model, states.get(model.id, STOPPED), created))
            if config.include_aliases_in_list:
                rows.extend(_alias_row(alias, model, states.get(model.id, STOPPED), created)
                            for alias in sorted(set(model.aliases)))
    rows.extend(_peer_rows(config, created))
    for selector in config.selectors.values():
        if not selector.unlisted:
            rows.append(_selector_row(selector, config, states, created))
    known = {*config.models, *config.aliases, *config.selectors, *(row["id"] for row in rows)}
    rows.extend(_row(name, created, meta={"type": "profile"})
                for name, target in (pins or {}).items() if target and name not in known)
    return sorted(rows, key=lambda row: str(row["id"]).encode("utf-8", "surrogatepass"))


def find_row(rows: List[Row], model_id: str) -> Optional[Row]:
    return next((row for row in rows if row["id"] == model_id), None)


def _peer_rows(config: Config, created: int) -> Iterator[Row]:
    """One row per model; its bare name is an alias when nobody else answers to it."""
    offers = Counter(name for peer in config.peers.values() for name in set(peer.models))
    taken = {*config.models, *config.aliases, *config.selectors,
             *(f"{peer.id}/{name}" for peer in config.peers.values() for name in peer.models)}
    for peer in config.peers.values():
        for name in dict.fromkeys(peer.models):
            row_id, is_reachable_bare = f"{peer.id}/{name}", offers[name] == 1 and name not in taken
            title = f"{peer.id}: {name}"
            aliases = {"aliases": [name]} if is_reachable_bare else {}
            yield _row(row_id, created, name=title, meta={"type": "peer", "peerID": peer.id, **aliases})
            if is_reachable_bare and config.include_aliases_in_list:
                yield _row(name, created, name=title, meta={"type": "alias", "modelID": row_id, "peerID": peer.id})


def _row(model_id: str, created: int, state: Optional[str] = None, *, meta: Mapping[str, Any], name: str = "",
         description: str = "", extra: Optional[Row] = None, context: int = 0) -> Row:
    row: Row = {"id": model_id, "object": "model", "created": created, "owned_by": "llama-swap"}
    for key, text in (("name", name.strip()), ("description", description.strip())):
        if text:
            row[key] = text
    row.update(extra or {})
    row["meta"] = {"llamaswap": dict(meta), **({"n_ctx": context} if context else {})}
    row["status"] = {"value": "loaded" if state in LIVE else "unloaded", **({"state": state} if state else {})}
    return row


def _model_row(model: Model, state: str, created: int) -> Row:
    aliases = {"aliases": sorted(model.aliases)} if model.aliases else {}
    return _described(model.id, model, state, created, {"type": "model", **aliases})


def _alias_row(alias: str, model: Model, state: str, created: int) -> Row:
    return _described(alias, model, state, created, {"type": "alias", "modelID": model.id})


def _described(row_id: str, model: Model, state: str, created: int, meta: Row) -> Row:
    mine = {key: value for key, value in model.metadata.items()
            if model.capabilities.is_empty() or key not in _CLAIMED_BY_CAPABILITIES}
    return _row(row_id, created, state, name=model.name, description=model.description,
                extra=_capabilities(model.capabilities), context=model.capabilities.context, meta={**mine, **meta})


def _selector_row(selector: Selector, config: Config, states: Mapping[str, str], created: int) -> Row:
    """Loaded when a request would find one of its targets ready, or on its way to it."""
    targets = [config.aliases.get(target, target) for target in selector.targets]
    considered = targets[:1] if selector.strategy == "pin" else targets
    meta = {**selector.metadata, "type": "selector", "strategy": selector.strategy, "targets": list(selector.targets)}
    if selector.strategy == "spillover":
        meta["spillover"] = selector.spillover
    found = {states.get(target) for target in considered}
    state = next((state for state in ("ready", "starting") if state in found), STOPPED)
    return _row(selector.id, created, state, name=selector.name,
                description=selector.description, meta=meta)


def _capabilities(has: Capabilities) -> Row:
    found: Row = {}
    if has.inputs or has.outputs:
        found["architecture"] = {
            **({"input_modalities": list(has.inputs)} if has.inputs else {}),
            **({"output_modalities": list(has.outputs)} if has.outputs else {}),
            **({"modality": "+".join(has.inputs) + "->" + "+".join(has.outputs)} if has.inputs and has.outputs else {}),
        }
    flags = flags_of(has)
    if flags:
        found["capabilities"] = flags
    if has.tools:
        found["supported_parameters"] = ["tools", "tool_choice"]
    if has.context:
        found["context_length"] = has.context
    return found


def flags_of(has: Capabilities) -> Dict[str, bool]:
    return {name: True for name, holds in _FLAGS.items() if holds(has)}


def _turns(source: str, result: str) -> Callable[[Capabilities], bool]:
    return lambda has: source in has.inputs and result in has.outputs


_FLAGS: Mapping[str, Callable[[Capabilities], bool]] = {
    "vision": lambda has: "image" in has.inputs,
    "audio_transcriptions": _turns("audio", "text"),
    "audio_speech": _turns("text", "audio"),
    "image_generation": _turns("text", "image"),
    "image_to_image": _turns("image", "image"),
    "function_calling": lambda has: has.tools,
    "reranker": lambda has: has.reranker,
}
