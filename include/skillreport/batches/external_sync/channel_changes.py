"""The effect of a listing on channels, and on the notification settings that name them as destinations. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from include.skillreport.batches.external_sync.plan import EntryKind, KnownChannel, PlanEntry, PlanInputs


def _vanished(world: PlanInputs, *, count_doubtful: bool) -> Iterator[KnownChannel]:
    listed = {channel.external_id for channel in world.channels}
    for known in () if world.started_over else world.known_channels:
        if known.channel.external_id in listed or (known.is_absence_doubtful and not count_doubtful):
            continue
        # Two listings of the same day may be caused by the same outage.
        if known.absent_on is not None and known.absent_on < world.run_date:
            yield known


def channel_absences(world: PlanInputs, *, is_held: bool) -> Iterator[PlanEntry]:
    """The first absence of each channel. An absence in a plausible listing replaces one in a held listing."""
    listed = {channel.external_id for channel in world.channels}
    for each in world.known_channels:
        is_first = each.absent_on is None or (each.is_absence_doubtful and not is_held)
        if is_first and each.channel.external_id not in listed:
            yield PlanEntry(
                EntryKind.CHANNEL_ABSENT,
                each.channel.external_id,
                "チャンネルの一覧にありません",
                after={"absent_on": world.run_date.isoformat(), "is_doubtful": is_held},
            )


def channel_returns(world: PlanInputs) -> Iterator[PlanEntry]:
    """The channels that are listed again."""
    listed = {channel.external_id for channel in world.channels}
    for each in world.known_channels:
        if each.absent_on is not None and each.channel.external_id in listed:
            yield PlanEntry(
                EntryKind.CHANNEL_RETURNED,
                each.channel.external_id,
                "チャンネルの一覧に戻りました",
                after={"absent_on": None},
            )


def channel_changes(world: PlanInputs, *, count_doubtful: bool) -> Iterator[PlanEntry]:
    """Channels that were renamed, archived or reopened, or are absent for the second day.

    ``count_doubtful``: absences in held listings count, too, because an operator has confirmed that any number may vanish.
    """
    known = {each.channel.external_id: each for each in world.known_channels}
    for channel in world.channels:
        before = known[channel.external_id].channel if channel.external_id in known else None
        if before is not None and before.name != channel.name:
            yield PlanEntry(
                EntryKind.CHANNEL_RENAMED,
                channel.external_id,
                "チャンネルの名前が変わりました",
                before={"name": before.name},
                after={"name": channel.name},
            )
        if channel.is_archived != (before is not None and before.is_archived):
            yield PlanEntry(
                EntryKind.CHANNEL_ARCHIVED if channel.is_archived else EntryKind.CHANNEL_UNARCHIVED,
                channel.external_id,
                f"チャンネルが{'アーカイブされました' if channel.is_archived else '再開されました'}",
                before={"is_archived": not channel.is_archived},
                after={"is_archived": channel.is_archived},
            )
    for each in _vanished(world, count_doubtful=count_doubtful):
        yield PlanEntry(
            EntryKind.CHANNEL_VANISHED,
            each.channel.external_id,
            "2 日続けてチャンネルの一覧にありません",
            before={"name": each.channel.name},
        )


def setting_changes(world: PlanInputs, *, count_doubtful: bool) -> Iterator[PlanEntry]:
    """Settings whose destinations are archived, or absent from complete listings on two consecutive days.

    ``count_doubtful``: see ``channel_changes``.
    """
    archived = [channel for channel in world.channels if channel.is_archived]
    # A new channel may have the name of a former one.
    spelled = world.provider.directory.spellings
    reachable = {name for channel in world.channels if not channel.is_archived for name in spelled(channel)}
    gone = {
        name: channel
        for channel in [
            *archived,
            *(known.channel for known in _vanished(world, count_doubtful=count_doubtful)),
        ]
        for name in spelled(channel) - reachable
    }
    for setting in world.settings:
        affected = [gone[name] for name in setting.destinations if name in gone]
        if not affected:
            continue
        is_useless = len(affected) == len(setting.destinations)
        names = sorted({channel.name or channel.external_id for channel in affected})
        yield PlanEntry(
            EntryKind.DISABLE_SETTING if is_useless else EntryKind.SETTING_AFFECTED,
            setting.setting_id,
            f"通知設定「{setting.setting_key}」の宛先のチャンネル「{'、'.join(names)}」がアーカイブされたか、なくなりました",
            before={"is_enabled": True, "setting_key": setting.setting_key, "channels": names},
            after={"is_enabled": not is_useless},
        )
