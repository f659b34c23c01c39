<?php

declare(strict_types=1);

namespace Wsgate\Exception;

/** Nobody listens there, or this user may not connect. Nothing was sent: trying again is safe. */
final class Unreachable extends GatewayException
{
}
