-- What the platform's incident is told in place of. One that was told before stays a matter of its own.
UPDATE batch.incident
SET is_part_of_platform = true
WHERE
    told IS null AND NOT is_part_of_platform AND closed_at IS null
    AND EXISTS (
        SELECT FROM batch.platform_incident AS platform
        WHERE platform.check_name = incident.check_name AND platform.closed_at IS null
    );
