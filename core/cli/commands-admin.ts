// The commands about who may do what: keys, principals, policy, the audit log. Their modules read and write files beneath /etc/berth; the engine is not asked.
import type { Command } from './command.ts';

export const ADMIN_COMMANDS: readonly Command[] = [];
