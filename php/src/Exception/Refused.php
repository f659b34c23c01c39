<?php

declare(strict_types=1);

namespace Wsgate\Exception;

/** The control interface said no: 401 for a wrong token, 400 for a bad name, 413 for a large body. */
final class Refused extends GatewayException
{
    public function __construct(public readonly int $status, string $reason)
    {
        parent::__construct("$status: $reason", $status);
    }
}
