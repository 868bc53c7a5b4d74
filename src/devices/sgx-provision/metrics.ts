/** /dev/sgx_provision counts what every node counts. */
import { DeviceMetrics } from '../device-metrics.ts';

export type SgxProvisionMetrics = DeviceMetrics;

export const metricsOf = (): SgxProvisionMetrics => new DeviceMetrics();
