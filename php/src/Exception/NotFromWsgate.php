<?php

declare(strict_types=1);

namespace Wsgate\Exception;

/** The script was not started by wsgate: WSGATE_EVENT is missing or unknown. */
final class NotFromWsgate extends \RuntimeException implements WsgateException
{
}
